"""What is known of ticks and of Beat: for pages and for alerts."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from django_celery_beat.models import PeriodicTask

from jobs.liveness import seconds_since
from jobs.models import Heartbeat, Tick, Timeline
from jobs.ticks.deciding import GRACE

# Beat says every two seconds that it lives.
SILENT_AFTER = 15.0
# A tick that Beat has not decided by then stands still with it.
STALLED_AFTER = GRACE + timedelta(seconds=5)
MOST_MISSED = 1_000


@dataclass(frozen=True)
class Missed:
    """A tick, or `count` of them from `due` to `until`, that were not sent in time.

    `name`, `task` and `queue` are the schedule's, None where it is gone.
    `known_at` is when it was written down; `reason` is a `deciding.Reason`.
    """

    tick_id: int
    schedule_id: int
    name: str | None
    task: str | None
    queue: str | None
    due: datetime
    until: datetime | None
    count: int
    reason: str
    detail: str
    known_at: datetime


@dataclass(frozen=True)
class BeatState:
    """How Beat is at a moment.

    `well`; `never` heard of; `silent`: no sign of life for SILENT_AFTER
    seconds, since `seen_at`; `stalled`: it lives, but a tick that was to be
    sent at `overdue_since` is not decided. `host` and `pid` are those of the
    Beat that works.
    """

    state: Literal["well", "never", "silent", "stalled"]
    seen_at: datetime | None
    overdue_since: datetime | None
    host: str = ""
    pid: int = 0


def missed_since(when: datetime, most: int = MOST_MISSED) -> list[Missed]:
    """What was found to be missed at `when` or later, the earliest first; two statements."""
    rows = Tick.objects.filter(outcome=Tick.Outcome.MISSED, known_at__gte=when)
    ticks = list(rows.order_by("known_at", "pk")[:most])
    schedules = PeriodicTask.objects.in_bulk({tick.schedule_id for tick in ticks})
    return [_missed(tick, schedules.get(tick.schedule_id)) for tick in ticks]


def _missed(tick: Tick, schedule: PeriodicTask | None) -> Missed:
    return Missed(
        tick_id=tick.pk,
        schedule_id=tick.schedule_id,
        name=schedule.name if schedule else None,
        task=schedule.task if schedule else None,
        queue=schedule.queue if schedule else None,
        due=tick.due,
        until=tick.until,
        count=tick.count,
        reason=tick.reason,
        detail=tick.detail,
        known_at=tick.known_at,
    )


def beat_state(now: datetime) -> BeatState:
    """How Beat is; two statements over small tables."""
    heartbeat = Heartbeat.objects.filter(name="beat").first()
    if heartbeat is None:
        return BeatState("never", None, None)
    where = (heartbeat.host, heartbeat.pid)
    overdue = _overdue_since(now)
    if seconds_since(heartbeat.at, now) > SILENT_AFTER:
        return BeatState("silent", heartbeat.at, overdue, *where)
    return BeatState("stalled" if overdue else "well", heartbeat.at, overdue, *where)


def _overdue_since(now: datetime) -> datetime | None:
    """Since when a tick waits that Beat should have decided; None while none does."""
    waits = Timeline.objects.filter(next_at__lt=now - STALLED_AFTER, schedule__enabled=True)
    found: datetime | None = waits.order_by("next_at").values_list("next_at", flat=True).first()
    return found
