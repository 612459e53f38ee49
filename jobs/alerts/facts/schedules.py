"""What schedules owe: due times whose job has not come, as far as django-celery-beat's own tables tell."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from celery.exceptions import ImproperlyConfigured
from celery.schedules import ParseException
from django.core.exceptions import ObjectDoesNotExist
from django.db.models import Q
from django_celery_beat.models import PeriodicTask

from jobs.alerts.shapes import TickFacts
from jobs.liveness import seconds_since
from jobs.models import Heartbeat

# What the columns of a schedule can do wrong when Celery reads them.
UNREADABLE: tuple[type[Exception], ...] = (
    ArithmeticError,
    AttributeError,
    ImproperlyConfigured,
    LookupError,
    ObjectDoesNotExist,
    ParseException,
    RuntimeError,
    TypeError,
    ValueError,
)
KINDS = ("interval", "crontab", "solar", "clocked")
# No grace is shorter, so nothing that is due later need be told.
SOONEST = timedelta(seconds=1)

# By schedule: what it was when asked, and the due time after its last run.
Memory = dict[int, tuple[Any, datetime | None]]


def read_beat_silence(now: datetime) -> float | None:
    """For how long Beat has been silent, in seconds; None if none was ever heard of."""
    beat = Heartbeat.objects.filter(name="beat").first()
    return None if beat is None else seconds_since(beat.at, now)


def read_overdue(now: datetime, memory: Memory) -> list[TickFacts]:
    """The due times that are over; one statement, and only what has changed is asked anew."""
    tasks = list(_that_run(now))
    for gone in memory.keys() - {task.pk for task in tasks}:
        del memory[gone]
    due = ((task, _due(task, now, memory)) for task in tasks)
    return [
        TickFacts(task.name, at, seconds_since(at, now), task.task, task.queue or None)
        for task, at in due
        if at is not None and at < now - SOONEST and not (task.expires and at >= task.expires)
    ]


def _that_run(now: datetime) -> Any:
    """Schedules that are to run: neither off, nor done, nor waiting for their first day."""
    rows = PeriodicTask.objects.filter(enabled=True).select_related(*KINDS)
    return rows.filter(Q(start_time=None) | Q(start_time__lte=now)).exclude(
        one_off=True, total_run_count__gt=0
    )


def _due(task: PeriodicTask, now: datetime, memory: Memory) -> datetime | None:
    mark = (task.last_run_at, task.date_changed, *(getattr(task, f"{kind}_id") for kind in KINDS))
    kept = memory.get(task.pk)
    if kept is None or kept[0] != mark:
        kept = memory[task.pk] = (mark, _due_after(task, now))
    return kept[1]


def _due_after(task: PeriodicTask, now: datetime) -> datetime | None:
    """The first due time after its last run, or after it was last edited; None if it can't be read."""
    last = task.last_run_at or max(filter(None, (task.date_changed, task.start_time)), default=None)
    if last is None:
        return None
    try:
        schedule = task.schedule
        schedule.nowfun = lambda: now
        remaining: timedelta = schedule.remaining_estimate(last)
        return now + remaining
    except UNREADABLE:
        return None
