"""What an alert says in a sentence, for those who get text alone. Pure."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from jobs.alerts.findings import Finding
from jobs.models.alerts import Kind

UNKNOWN = "?"
LONGEST = 500
DAY, HOUR, MINUTE = 86_400, 3600, 60


def duration(seconds: Any) -> str:
    """As in "4 s", "14 min", "3.5 h", "2 d"."""
    if not isinstance(seconds, int | float):
        return UNKNOWN
    for unit, name in ((DAY, "d"), (HOUR, "h"), (MINUTE, "min")):
        if seconds >= unit * (2 if unit != HOUR else 1.5):
            return f"{seconds / unit:.3g} {name}"
    return f"{seconds:.3g} s"


def share(value: Any) -> str:
    """As in "12.5 %"."""
    return f"{value * 100:.3g} %" if isinstance(value, int | float) else UNKNOWN


def count(value: Any) -> str:
    """As in "1,204"."""
    return f"{value:,.0f}" if isinstance(value, int | float) else UNKNOWN


def summary(kind: str, finding: Finding) -> str:
    """The sentence of a finding that holds, in the language that is active."""
    text = _of_record(finding.key) if kind == Kind.STREAM else _text(kind, finding)
    return text.format(**_words(finding), key=finding.key)[:LONGEST]


def _words(finding: Finding) -> dict[str, str]:
    seen = finding.evidence
    return {
        "count": count(seen.get("value")),
        "share": share(seen.get("value")),
        "time": duration(seen.get("value")),
        "failed": count(seen.get("failed")),
        "ended": count(seen.get("ended")),
        "usual": share(seen.get("usual")),
        "limit": duration(seen.get("limit")),
        "jobs": count(seen.get("jobs")),
        "depth": count(seen.get("depth")),
        "oldest": duration(seen.get("oldest")),
        "silent": duration(seen.get("silent")),
    }


def _text(kind: str, finding: Finding) -> str:
    texts = {
        Kind.FAILURE_SHARE: _("{key}: {share} of jobs failed ({failed} of {ended})."),
        Kind.FAILURE_RISE: _("{key}: {share} of jobs failed ({failed} of {ended}); usual is {usual}."),
        Kind.SLOW: _("{key}: jobs take {time}; the limit is {limit} ({jobs} jobs)."),
        Kind.OLDEST: _("{key}: the oldest of {depth} waiting jobs has waited {time}; it should be {limit}."),
        Kind.DEPTH: _("{key}: {count} jobs wait, the oldest for {oldest}."),
        Kind.NO_CONSUMER: _("{key}: nobody reads this queue; {count} jobs wait, the oldest for {oldest}."),
        Kind.STALLED: _("{key}: {depth} jobs wait, a worker is free, and none was taken for {time}."),
        Kind.MISSED_TICK: _("{key}: a job was due {time} ago and has not come."),
        Kind.BEAT_SILENT: _("Beat has been silent for {time}: schedules do not run."),
        Kind.NO_SUCCESS: _("{key}: no success for {time}; {failed} failed."),
    }
    if kind in texts:
        return texts[Kind(kind)]
    return _with_number(kind, finding)


def _with_number(kind: str, finding: Finding) -> str:
    value = finding.evidence.get("value")
    number = int(value) if isinstance(value, int | float) else 0
    if kind == Kind.WORKER_DEAD:
        return ngettext(
            "{key} is gone for {silent} with {count} running job.",
            "{key} is gone for {silent} with {count} running jobs.",
            number,
        )
    if kind == Kind.DEAD_LETTERS:
        return ngettext("{key}: {count} dead letter waits.", "{key}: {count} dead letters wait.", number)
    if finding.evidence.get("returned") is not None:
        return _("{key}: an error that was gone for a day has come back.")
    return _("{key}: an error that this task never had before.")


def _of_record(key: str) -> str:
    return {
        "lag": _("The record is {time} behind: figures and other alerts are late."),
        "gap": _("Events were lost ({count}): the record is incomplete."),
        "broker": _("The broker does not answer."),
    }[key]
