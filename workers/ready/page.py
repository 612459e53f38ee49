"""The page of a report: one file of HTML without script or anything from elsewhere. Everything is escaped."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe

from jobs.rollups import Tally
from workers.ready.charts import Column, columns

if TYPE_CHECKING:
    from workers.ready.report import Report

MOST_ROWS = 50
# Of our own, and a constant.
STYLE = mark_safe("""
body { font: 15px/1.5 system-ui, sans-serif; color: #1b1f24 }
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.4rem } h2 { font-size: 1.1rem; margin-top: 2rem }
table { border-collapse: collapse; width: 100% }
th, td { padding: .25rem .5rem; text-align: right; white-space: nowrap }
td { font-variant-numeric: tabular-nums }
th:first-child, td:first-child { text-align: left; width: 35% }
th:first-child, td:first-child { white-space: normal; overflow-wrap: anywhere }
tr { border-bottom: 1px solid #d8dee4 }
figure { margin: 1rem 0 }
.legend { font-size: 12px; padding: 0 .4rem; color: #fff; border-radius: 2px }
small { color: #57606a } svg { width: 100% } line { stroke: #8c959f }
text { font-size: 12px; fill: #57606a } .succeeded { fill: #2f7d4f; background: #2f7d4f }
.failed { fill: #b3261e; background: #b3261e }
.stopped { fill: #6e7781; background: #6e7781 } .p95 { fill: #3b6ea5 }
""")
NOTHING = "\u2013"
NAMES = ("published", "succeeded", "failed", "retried")


def page_of(report: Report, site: str, made: datetime) -> SafeString:
    """The whole page."""
    span = report.span
    return format_html(
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{0}: jobs</title>'
        "<style>{1}</style></head><body><h1>{0}: jobs from {2} to {3}</h1>"
        "<p><small>made {4}, in UTC</small></p>"
        "{5}{6}{7}<h2>Tasks</h2>{8}<h2>Queues</h2>{9}</body></html>\n",
        site, STYLE, minute(span.at(span.first)), minute(span.at(span.after)), minute(made),
        table({"all jobs": report.total}),
        columns("Jobs ended", ("succeeded", "failed", "stopped"), list(_ends(report))),
        columns("Queued to complete, p95", ("p95",), list(_latency(report)), " s"),
        table(report.tasks), table(report.queues),
    )  # fmt: skip


def minute(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M}"


def _ends(report: Report) -> Iterable[Column]:
    for number in range(report.span.first, report.span.after):
        counts = (report.steps.get(number) or Tally()).counts
        stopped = counts["revoked"] + counts["rejected"]
        yield Column(minute(report.span.at(number)), (counts["succeeded"], counts["failed"], stopped))


def _latency(report: Report) -> Iterable[Column]:
    for number in range(report.span.first, report.span.after):
        tally = report.steps.get(number) or Tally()
        yield Column(minute(report.span.at(number)), (tally.sketches.ended("total").quantile(0.95),))


def table(tallies: Mapping[str, Tally]) -> SafeString:
    """Counts, success rate and durations by name, those with most ends first."""
    busiest = sorted(tallies.items(), key=lambda item: (-_judged(item[1]), item[0]))
    rows = format_html_join(
        "", "<tr>{}</tr>", ((_cells(name, tally),) for name, tally in busiest[:MOST_ROWS])
    )
    left = len(busiest) - MOST_ROWS
    more = format_html("<p><small>and {} more, in the CSV</small></p>", left) if left > 0 else ""
    heads = (*NAMES, "success", "wait p95", "run p95", "total p95")
    head = format_html_join("", "<th>{}</th>", ((name,) for name in heads))
    return format_html("<table><tr><th></th>{}</tr>{}</table>{}", head, rows, more)


def _judged(tally: Tally) -> int:
    return tally.counts["succeeded"] + tally.counts["failed"]


def _cells(name: str, tally: Tally) -> SafeString:
    judged = _judged(tally)
    rate = f"{100 * tally.counts['succeeded'] / judged:.2f} %" if judged else NOTHING
    durations = [
        seconds(tally.sketches.ended(measure).quantile(0.95)) for measure in ("wait", "run", "total")
    ]
    cells = [name, *(f"{tally.counts[each]:,}" for each in NAMES), rate, *durations]
    return format_html_join("", "<td>{}</td>", ((cell,) for cell in cells))


def seconds(duration: float | None) -> str:
    """As in "1.2 s"; a dash where nothing ended."""
    return NOTHING if duration is None else f"{duration:,.3g} s"
