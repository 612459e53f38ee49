"""How things stand, to be told to others: what changed with its letters on the chart, and a text to copy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC
from typing import TYPE_CHECKING, Any

from django.utils import timezone
from django.utils.translation import gettext as _

from dashboard import formats
from dashboard.alert_chart import lettered_between
from dashboard.alert_text import words_of
from dashboard.alert_words import headline, sentence
from dashboard.templatetags.nightdesk import BADGES
from jobs import attending, audit
from jobs.changes import Changed
from jobs.headlines import MINUTE
from jobs.models import Action, Alert, Rule
from jobs.models.alerts import About, Kind
from jobs.seen import CHANGES_OF

if TYPE_CHECKING:
    from datetime import datetime

    from django.contrib.auth.models import User

MOST_TOLD, MOST_QUEUES = 12, 5
QUIET_QUEUES = ("healthy", "idle")
# What isn't a kind of rule is worded like the kind that has the same numbers.
WORDED_AS = {"capacity": Kind.OLDEST, "growing": Kind.OLDEST}
OF_THE_RECORD = ("lag", "broker", "gap")
# A name is told as code: what it holds is neither markup nor a mention.
LONGEST_NAME = 120

Story = list[tuple[str, Changed]]


def story(frame: Mapping[str, Any], user: User, now: datetime) -> Story:
    """What changed in the last two hours, and what people did as far as `user` may know, the latest first;
    with the letters that they have on the chart."""
    since = now - CHANGES_OF
    changes = [attending.changed(row) for row in frame["changes"]]
    changes += [_deed(action) for action in audit.lately(user, since)]
    latest = sorted(changes, key=lambda change: change.at, reverse=True)[:MOST_TOLD]
    chart = frame["chart"]
    return lettered_between(latest, chart["start"], chart["start"] + len(chart["finished"]) * MINUTE)


def _deed(action: Action) -> Changed:
    return Changed(action.at, "action", action.who, f"{action.command} {action.target}".strip(), action.pk)


def summary(frame: Mapping[str, Any], told: Story, address: str) -> str:
    """All of it as Markdown that reads well as plain text, too; always in UTC."""
    parts = [_standing(frame), _needs(frame), _figures(frame), _queues(frame), _changes(told)]
    with timezone.override(UTC):
        lines = [line for part in parts for line in part]
    return "\n".join([*lines, "", address])


def _standing(frame: Mapping[str, Any]) -> Iterator[str]:
    word = {
        "quiet": _("Quiet"),
        "drifting": _("Drifting"),
        "burning": _("Burning"),
        "blind": _("Blind"),
        "ready": _("Ready"),
    }[frame["word"]]
    since = _(" since %(since)s") % {"since": _stamp(frame["since"])} if frame["since"] else ""
    yield f"**{word}{since}**"
    yield _("As of %(at)s.") % {"at": _stamp(frame["at"])}


def _needs(frame: Mapping[str, Any]) -> Iterator[str]:
    yield ""
    if not frame["needs"]["rows"]:
        yield _("Nothing needs attention.")
    for row in frame["needs"]["rows"]:
        owner = _(" %(who)s has it.") % {"who": _code(row["owner"])} if row["owner"] else ""
        since = _(" Since %(since)s.") % {"since": _stamp(row["since"])} if row["since"] else ""
        word = BADGES[row["severity"]][0]
        yield f"- {word}: {_said(row, frame['at'])}{since}{owner}"
    if frame["needs"]["more"]:
        yield _("- and %(more)s more") % {"more": frame["needs"]["more"]}


def _said(row: Mapping[str, Any], at: float) -> str:
    """A row in the words that its alert would have."""
    name, what = row["name"], row["what"]
    others = row["facts"].get("workers", 1) - 1
    told = f"{_code(name)} (+{others})" if others > 0 else _code(name)
    of_the_record = what in OF_THE_RECORD or name == what
    about = About.RECORD if of_the_record else About.TASK
    like = Alert(
        rule=Rule(kind=WORDED_AS.get(what, Kind.STREAM if what in OF_THE_RECORD else what)),
        about=about,
        key=what if of_the_record else told,
        task=told,
        evidence={key: _plain(value) for key, value in row["facts"].items()},
    )
    return f"{headline(like)}. {sentence(like, at)}"


def _figures(frame: Mapping[str, Any]) -> Iterator[str]:
    rate, success, latency, workers = (
        frame["figures"][name] for name in ("rate", "success", "latency", "workers")
    )
    yield ""
    yield _("- jobs per hour: %(now)s") % {"now": formats.written(rate["now"], "count", 0)}
    yield _("- success: %(day)s in 24 h, %(recent)s in 15 min") % {
        "day": formats.written(success["share"], "percent", 0),
        "recent": formats.written(success["recent"], "percent", 0),
    }
    yield _("- latency: average %(avg)s, p95 %(p95)s; oldest waiting %(oldest)s") % {
        name: formats.written(latency[name], "seconds", 0) for name in ("avg", "p95", "oldest")
    }
    yield _("- workers: %(online)s of %(known)s, %(busy)s of %(slots)s slots busy") % {
        name: formats.written(workers[name], "count", 0) for name in ("online", "known", "busy", "slots")
    }


def _queues(frame: Mapping[str, Any]) -> Iterator[str]:
    for row in frame["queues"][:MOST_QUEUES]:
        if row["verdict"] not in QUIET_QUEUES:
            yield _("- queue %(name)s: %(verdict)s, %(depth)s waiting, oldest %(oldest)s") % {
                "name": _code(row["name"]),
                "verdict": BADGES[row["verdict"]][0],
                "depth": formats.written(row["depth"], "count", 0),
                "oldest": formats.written(row["oldest"], "seconds", 0),
            }


def _changes(told: Story) -> Iterator[str]:
    if told:
        yield ""
        yield _("What changed in the last two hours:")
    for _letter, change in told:
        yield f"- {_stamp(change.at.timestamp())} {_plain(words_of(change))}"


def _stamp(at: float) -> str:
    return formats.moment(at)


def _plain(value: Any) -> Any:
    """A text in which nothing is markup or a mention; numbers as they are."""
    return value if not isinstance(value, str) or value.isalnum() else _code(value)


def _code(name: str) -> str:
    return f"`{' '.join(name.split()).replace('`', chr(39))[:LONGEST_NAME]}`"
