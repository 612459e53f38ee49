"""What schedules owe: ticks that are due and that Beat has not decided, and those whose job can't be made."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db.models import Exists, OuterRef
from django_celery_beat.models import PeriodicTask

from jobs.alerts.shapes import TickFacts
from jobs.liveness import seconds_since
from jobs.models import Heartbeat, Tick, Timeline
from jobs.ticks.deciding import Reason
from jobs.ticks.plans import timeline_of

# No grace is shorter, so nothing that is due later need be told.
SOONEST = timedelta(seconds=1)
# A tick whose job can't be made is told of until a later one is sent, or for so long.
FAULTY_FOR = timedelta(hours=26)
MOST = 1_000


def read_beat_silence(now: datetime) -> float | None:
    """For how long Beat has been silent, in seconds; None if none was ever heard of."""
    beat = Heartbeat.objects.filter(name="beat").first()
    return None if beat is None else seconds_since(beat.at, now)


def read_overdue(now: datetime) -> list[TickFacts]:
    """Ticks whose job has not come, the latest known first; two statements."""
    return [*_undecided(now), *_faulty(now)]


def _undecided(now: datetime) -> list[TickFacts]:
    """Those that a pause, a skip or an overlap keeps back are decided."""
    waiting = Timeline.objects.filter(next_at__lt=now - SOONEST, schedule__enabled=True)
    rows = waiting.select_related("schedule").order_by("-next_at")[:MOST]
    return [_told(row.schedule, row.next_at, now) for row in rows if row.next_at is not None]


def _faulty(now: datetime) -> list[TickFacts]:
    sent_since = Tick.objects.filter(
        schedule=OuterRef("schedule"), due__gt=OuterRef("due"), outcome=Tick.Outcome.FIRED
    )
    faulty = Tick.objects.filter(
        outcome=Tick.Outcome.MISSED, reason=Reason.FAULTY, known_at__gte=now - FAULTY_FOR
    )
    enabled = PeriodicTask.objects.filter(pk=OuterRef("schedule"), enabled=True)
    rows = faulty.filter(~Exists(sent_since), Exists(enabled)).select_related("schedule__timeline")
    return [_told(row.schedule, row.due, now) for row in rows.order_by("-known_at")[:MOST]]


def _told(schedule: PeriodicTask, due: datetime, now: datetime) -> TickFacts:
    timeline = timeline_of(schedule)
    queue = schedule.queue or (timeline.queue if timeline is not None else "")
    return TickFacts(schedule.name, due, seconds_since(due, now), schedule.task, queue or None)
