"""Alerts in words: what is wrong, and the evidence for it. Pure; evidence may lack anything, which is "?"."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from dashboard import formats
from jobs.adrift.rules import WHATS
from jobs.models import Alert
from jobs.models.alerts import Kind

Words = Mapping[str, str | Promise]

# What is wrong, by the kind of the rule; the names of `stream` and of returned errors are below.
HEADLINES: Words = {
    Kind.FAILURE_SHARE: gettext_lazy("%(what)s fails too often"),
    Kind.FAILURE_RISE: gettext_lazy("%(what)s fails more than usual"),
    Kind.SLOW: gettext_lazy("%(what)s takes too long"),
    Kind.OLDEST: gettext_lazy("The oldest job of %(what)s waits too long"),
    Kind.DEPTH: gettext_lazy("Too many jobs wait in %(what)s"),
    Kind.NO_CONSUMER: gettext_lazy("No worker reads %(what)s"),
    Kind.STALLED: gettext_lazy("The workers of %(what)s take nothing"),
    Kind.WORKER_DEAD: gettext_lazy("%(what)s is gone, with running jobs"),
    Kind.MISSED_TICK: gettext_lazy("Schedule %(what)s was not sent"),
    Kind.BEAT_SILENT: gettext_lazy("Beat is silent"),
    Kind.NO_SUCCESS: gettext_lazy("%(what)s has not succeeded"),
    Kind.NEW_ERROR: gettext_lazy("New error in %(what)s"),
    Kind.DEAD_LETTERS: gettext_lazy("Dead letters of %(what)s wait"),
    Kind.STREAM: gettext_lazy("The record is not complete"),
    # No rules, but rows of what needs somebody; see jobs.adrift.
    "orphaned": gettext_lazy("%(what)s left orphaned jobs"),
    "lost": gettext_lazy("%(what)s has lost jobs"),
    "stuck": gettext_lazy("%(what)s has stuck jobs"),
}
OF_THE_RECORD: Words = {
    "lag": gettext_lazy("The record is behind"),
    "gap": gettext_lazy("Events are missing in the record"),
    "broker": gettext_lazy("The broker can't be reached"),
    "dead letters": gettext_lazy("Dead letters wait"),
}
# The evidence in a sentence; {names} are those of the evidence, written as FORMS says.
SENTENCES: Words = {
    Kind.FAILURE_SHARE: gettext_lazy("%(value)s failed: %(failed)s of %(ended)s."),
    Kind.FAILURE_RISE: gettext_lazy("%(value)s failed, %(usual)s is usual: %(failed)s of %(ended)s."),
    Kind.SLOW: gettext_lazy("%(value)s, over %(limit)s, of %(jobs)s jobs."),
    Kind.OLDEST: gettext_lazy("%(value)s, over %(limit)s; %(depth)s wait."),
    Kind.DEPTH: gettext_lazy("%(value)s wait, over %(limit)s; the oldest for %(oldest)s."),
    Kind.NO_CONSUMER: gettext_lazy("%(value)s wait, the oldest for %(oldest)s."),
    Kind.STALLED: gettext_lazy("%(depth)s wait, none was taken for %(value)s; %(free)s slots are free."),
    Kind.WORKER_DEAD: gettext_lazy("Silent for %(silent)s, with %(value)s jobs running."),
    Kind.MISSED_TICK: gettext_lazy("Due %(due)s, late by %(value)s; %(missed)s due times are missed."),
    Kind.BEAT_SILENT: gettext_lazy("No sign of life for %(value)s: no schedule is sent."),
    Kind.NO_SUCCESS: gettext_lazy("The last success was %(value)s ago; %(failed)s failed since then."),
    Kind.NEW_ERROR: gettext_lazy("%(exception)s, first seen %(first)s, last %(last)s."),
    Kind.DEAD_LETTERS: gettext_lazy("%(value)s wait for a decision."),
    "orphaned": gettext_lazy("%(value)s taken by a process that is gone."),
    "lost": gettext_lazy("%(value)s queued, with no message left that would run."),
    "stuck": gettext_lazy("%(value)s running far too long, on a worker that lives."),
}
SENTENCES_OF_THE_RECORD: Words = {
    "lag": gettext_lazy("%(value)s behind, over %(limit)s: what pages show is of then."),
    "gap": gettext_lazy("%(value)s events are missing; the last gap ended %(since)s ago."),
    "broker": gettext_lazy("What waits in the queues is not known."),
    "dead letters": gettext_lazy("%(value)s wait for a decision."),
}
LABELS: Words = {
    "failed": gettext_lazy("failed"),
    "ended": gettext_lazy("ended"),
    "usual": gettext_lazy("usual share"),
    "limit": gettext_lazy("limit"),
    "jobs": gettext_lazy("jobs"),
    "depth": gettext_lazy("waiting"),
    "oldest": gettext_lazy("oldest waiting"),
    "readers": gettext_lazy("workers that read it"),
    "free": gettext_lazy("free slots"),
    "taken": gettext_lazy("taken meanwhile"),
    "silent": gettext_lazy("silent for"),
    "due": gettext_lazy("due"),
    "missed": gettext_lazy("missed"),
    "first": gettext_lazy("first seen"),
    "last": gettext_lazy("last seen"),
    "returned": gettext_lazy("came back"),
    "exception": gettext_lazy("exception"),
    "since": gettext_lazy("since the last gap"),
}
# What `value` is called.
VALUES: Words = {
    Kind.FAILURE_SHARE: gettext_lazy("share of failures"),
    Kind.FAILURE_RISE: gettext_lazy("share of failures"),
    Kind.SLOW: gettext_lazy("took"),
    Kind.OLDEST: gettext_lazy("oldest waiting"),
    Kind.DEPTH: gettext_lazy("waiting"),
    Kind.NO_CONSUMER: gettext_lazy("waiting"),
    Kind.STALLED: gettext_lazy("none taken for"),
    Kind.WORKER_DEAD: gettext_lazy("running jobs"),
    Kind.MISSED_TICK: gettext_lazy("late by"),
    Kind.BEAT_SILENT: gettext_lazy("silent for"),
    Kind.NO_SUCCESS: gettext_lazy("last success, ago"),
    Kind.NEW_ERROR: gettext_lazy("known for"),
    Kind.DEAD_LETTERS: gettext_lazy("dead letters"),
    Kind.STREAM: gettext_lazy("measured"),
}
COUNTS = (Kind.DEPTH, Kind.NO_CONSUMER, Kind.WORKER_DEAD, Kind.DEAD_LETTERS, *WHATS)
SHARES = (Kind.FAILURE_SHARE, Kind.FAILURE_RISE)
OF_COUNTS = {"failed", "ended", "jobs", "depth", "readers", "free", "taken", "missed"}
OF_MOMENTS = {"due", "first", "last", "returned"}
OF_SECONDS = {"oldest", "silent", "since"}


@dataclass(frozen=True)
class Fact:
    """A number of the evidence, as a page tells it."""

    label: str
    text: str


def headline(alert: Alert) -> str:
    """What is wrong, in a few words."""
    if alert.key in OF_THE_RECORD and alert.about == "record":
        return str(OF_THE_RECORD[alert.key])
    if alert.rule.kind == Kind.NEW_ERROR and alert.evidence.get("returned") is not None:
        return _("An error is back in %(what)s") % {"what": alert.task}
    words = HEADLINES.get(alert.rule.kind)
    what = alert.task if alert.rule.kind == Kind.NEW_ERROR else alert.key
    return str(words) % {"what": what or "?"} if words else f"{alert.rule.name}: {alert.key}"


def sentence(alert: Alert, now: float) -> str:
    """The evidence, with its numbers; what the monitor has written where it has a kind of its own."""
    of_record = SENTENCES_OF_THE_RECORD if alert.about == "record" else {}
    words = of_record.get(alert.key) or SENTENCES.get(alert.rule.kind)
    if words is None:
        return alert.summary
    return str(words) % _Written(alert, now)


def facts(alert: Alert, now: float) -> list[Fact]:
    """Each number of the evidence with its name."""
    written = _Written(alert, now)
    return [Fact(_label(alert, name), written[name]) for name in alert.evidence]


def _label(alert: Alert, name: str) -> str:
    if name == "value":
        return str(VALUES.get(alert.rule.kind, name))
    return str(LABELS.get(name, name.replace("_", " ")))


class _Written(dict[str, str]):
    """The evidence as it is written; what it lacks is "?"."""

    def __init__(self, alert: Alert, now: float) -> None:
        super().__init__({name: _written(alert, name, value, now) for name, value in alert.evidence.items()})

    def __missing__(self, name: str) -> str:
        return formats.UNKNOWN


def _written(alert: Alert, name: str, value: Any, now: float) -> str:
    return formats.written(value, form_of(alert.rule.kind, alert.key, name), now)


def form_of(kind: str, key: str, name: str) -> str:
    """How a number of the evidence is written."""
    if name in ("value", "limit"):
        return _form_of_value(kind, key)
    if name in OF_COUNTS:
        return "count"
    if name in OF_MOMENTS:
        return "moment"
    return "percent" if name == "usual" else "seconds" if name in OF_SECONDS else "text"


def _form_of_value(kind: str, key: str) -> str:
    if kind in SHARES:
        return "percent"
    return "count" if kind in COUNTS or (kind == Kind.STREAM and key == "gap") else "seconds"
