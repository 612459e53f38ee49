"""`generate_report`: what happened in a span, as a page with charts and as CSV, in Django's storage."""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from jobs.models import Bucket, Cluster
from jobs.rollups import COUNTS, Sketches, Tally
from jobs.stats import Span
from jobs.values import in_utc
from workers.app import app
from workers.ready.page import page_of
from workers.retries import Permanent

FOLDER = "reports"
QUANTILES = {"p50": 0.5, "p95": 0.95}
HEAD = ["from", "task", "queue", *COUNTS, *(f"{name}_seconds" for name in QUANTILES)]
# Spreadsheets take what begins so for a formula.
FORMULA = ("=", "+", "-", "@", "\t", "\r")


@dataclass
class Report:
    """Counts and durations of a span, by step, task and queue."""

    span: Span
    steps: dict[int, Tally] = field(default_factory=lambda: defaultdict(Tally))
    tasks: dict[str, Tally] = field(default_factory=lambda: defaultdict(Tally))
    queues: dict[str, Tally] = field(default_factory=lambda: defaultdict(Tally))
    total: Tally = field(default_factory=Tally)

    def add(self, number: int, task: str, queue: str, tally: Tally) -> None:
        """One bucket more."""
        for whole in (self.steps[number], self.tasks[task], self.queues[queue], self.total):
            whole.merge(tally)


@app.task(bind=True, idempotent=True)
def generate_report(self: Any, since: str | None = None, until: str | None = None) -> dict[str, Any]:
    """A report of all jobs between two moments (ISO 8601); of the last whole day, in UTC, by default.

    The names of its files in Django's storage, and how many jobs ended. It
    shows everything: who may open that storage may see it.
    """
    span = span_of(since, until, timezone.now())
    report, table = Report(span), io.StringIO()
    lines = csv.writer(table)
    lines.writerow(HEAD)
    for number, task, queue, tally in buckets_of(span):
        report.add(number, task, queue, tally)
        lines.writerow([span.at(number).isoformat(), plain(task), plain(queue), *figures_of(tally)])
    counts = report.total.counts
    page = page_of(report, settings.SITE_NAME, timezone.now())
    return {
        "html": stored(f"{self.request.id}.html", page),
        "csv": stored(f"{self.request.id}.csv", table.getvalue()),
        "ended": sum(counts[name] for name in ("succeeded", "failed", "revoked", "rejected")),
    }


def span_of(since: str | None, until: str | None, now: datetime) -> Span:
    """The span that was asked for. Raises Permanent for moments that make none."""
    today = now.replace(hour=0, minute=0, second=0, microsecond=0)
    end = moment_of(until) if until else today
    try:
        return Span.around(moment_of(since) if since else end - timedelta(days=1), end, None)
    except ValueError as fault:
        raise Permanent(str(fault)) from None


def moment_of(text: str) -> datetime:
    """A moment; in UTC where it doesn't say. Raises Permanent."""
    try:
        moment = parse_datetime(text) or parse_datetime(f"{text}T00:00")
    except ValueError:
        moment = None
    if moment is None:
        raise Permanent(f"{text!r} is not a moment such as 2026-03-01T08:00Z")
    return in_utc(moment)


def buckets_of(span: Span) -> Iterator[tuple[int, str, str, Tally]]:
    """What is counted in the span: step, task, queue and their counts; one statement."""
    rows = Bucket.objects.filter(
        cluster=Cluster.DEFAULT_ID, tier=span.step, start__gte=span.first, start__lt=span.after
    ).order_by("start", "task", "queue")
    for number, task, queue, sketches, *counts in rows.values_list(
        "start", "task", "queue", "sketches", *COUNTS
    ).iterator():
        yield number, task, queue, Tally(dict(zip(COUNTS, counts, strict=True)), Sketches.loads(sketches))


def figures_of(tally: Tally) -> list[Any]:
    """The counts, and the quantiles of queued to complete in seconds; empty where nothing is known."""
    ended = tally.sketches.ended("total")
    known = [ended.quantile(share) for share in QUANTILES.values()]
    return [
        *(tally.counts[name] for name in COUNTS),
        *("" if each is None else f"{each:.3f}" for each in known),
    ]


def plain(text: str) -> str:
    """A name that no spreadsheet calculates."""
    return f"'{text}" if text.startswith(FORMULA) else text


def stored(name: str, content: str) -> str:
    """Store it under the day of its making, in place of what a run before may have left; its full name."""
    path = f"{FOLDER}/{timezone.now():%Y-%m-%d}/{name}"
    default_storage.delete(path)
    return default_storage.save(path, ContentFile(content.encode()))
