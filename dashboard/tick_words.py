"""Ticks in words: what became of one, and why."""

from __future__ import annotations

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy

from jobs.models import Tick
from jobs.ticks.deciding import Reason

OUTCOMES: dict[str, str | Promise] = {
    "ok": gettext_lazy("ok"),
    "late": gettext_lazy("late"),
    "failed": gettext_lazy("failed"),
    "sent": gettext_lazy("sent"),
    "missed": gettext_lazy("missed"),
    "left out": gettext_lazy("left out"),
}
REASONS: dict[str, str | Promise] = {
    Reason.AWAY: gettext_lazy("Nobody was there to send it: Beat was away, or stood still."),
    Reason.LATER: gettext_lazy("Beat was away; a later one was sent in its place."),
    Reason.FAULTY: gettext_lazy("Its job can't be made:"),
    Reason.CAUGHT_UP: gettext_lazy("Sent when Beat was back."),
    Reason.WAITED: gettext_lazy("Sent when the job before it had ended."),
    Reason.BACKFILLED: gettext_lazy("Sent afterwards, as asked by"),
    Reason.ASKED: gettext_lazy("As asked by"),
    Reason.RUNNING: gettext_lazy("The job before it had not ended."),
    Reason.ONE_WAITS: gettext_lazy("The job before it had not ended, and another tick waits already."),
    Reason.OFF: gettext_lazy("The schedule was switched off, or changed so that no job can be made."),
}
# Their detail is for people; that of the others is the id of a job.
WITH_DETAIL = {Reason.FAULTY, Reason.BACKFILLED, Reason.ASKED}


def why(tick: Tick) -> str:
    """Why a tick became what it did; empty for what went as it should."""
    words = str(REASONS.get(tick.reason, tick.reason))
    return f"{words} {tick.detail}".strip() if tick.reason in WITH_DETAIL else words
