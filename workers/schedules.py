"""When a schedule runs next, and why one can't run: pure questions about a PeriodicTask row.

The answers come from Celery's own schedule objects, which Beat asks as well,
so that a page can't promise what Beat won't do. (Celery wants day of month
AND day of week, where cron takes either.)
"""

from __future__ import annotations

import json
import math
from datetime import datetime, timedelta
from typing import Any

from celery.exceptions import ImproperlyConfigured
from celery.schedules import ParseException
from django.core.exceptions import ObjectDoesNotExist
from django.utils.translation import gettext as _
from django_celery_beat.models import PeriodicTask

# What the columns of a schedule can do wrong when Celery reads them.
UNREADABLE: tuple[type[Exception], ...] = (
    ArithmeticError,
    AttributeError,
    ImproperlyConfigured,
    LookupError,
    ObjectDoesNotExist,
)
UNREADABLE += (ParseException, TypeError, ValueError, RuntimeError)


def problem(task: PeriodicTask) -> str | None:
    """Why Beat can't run this schedule, in a line; None if it can.

    Being switched off, expired or done is no problem.
    """
    try:
        _readable_schedule(task)
    except UNREADABLE as error:
        return _("the schedule can't be read: %(why)s") % {"why": _in_a_line(error)}
    for field, shape in (("args", list), ("kwargs", dict), ("headers", dict)):
        if not _holds(getattr(task, field), shape):
            return _("%(field)s is not a JSON %(shape)s") % {
                "field": field,
                "shape": _("list") if shape is list else _("object"),
            }
    return None


def next_run(task: PeriodicTask, now: datetime) -> datetime | None:
    """When Beat sends this schedule's next job; None if never, or if it can't be read.

    What is overdue runs `now`. `now` is an aware datetime, and so is the answer.
    """
    if not task.enabled or problem(task) or _is_done(task, now):
        return None
    moment = _next_after(_readable_schedule(task), task, now)
    return None if task.expires and moment >= task.expires else moment


def _is_done(task: PeriodicTask, now: datetime) -> bool:
    return bool(task.one_off and task.total_run_count > 0) or bool(task.expires and now >= task.expires)


def _next_after(schedule: Any, task: PeriodicTask, now: datetime) -> datetime:
    """Beat holds a schedule back until its start, and then asks it as if it had never run."""
    asked_at = max(now, task.start_time) if task.start_time else now
    last = task.last_run_at
    if last is None:
        last = (task.date_changed or now) - (timedelta(days=365 * 30) if task.start_time else timedelta(0))
    schedule.nowfun = lambda: asked_at
    remaining: timedelta = schedule.remaining_estimate(last)
    return asked_at + max(remaining, timedelta(0))


def _readable_schedule(task: PeriodicTask) -> Any:
    if task.scheduler is None:
        raise ValueError(_("it has no interval, crontab, clock time or solar event"))
    schedule = task.schedule
    every = getattr(schedule, "run_every", None)
    if every is not None and every <= timedelta(0):
        raise ValueError(_("its interval is zero"))
    if not hasattr(schedule, "remaining_estimate") or not _asks_safely(schedule, task):
        raise ValueError(_("it has no next time"))
    return schedule


def _asks_safely(schedule: Any, task: PeriodicTask) -> bool:
    """Some faults show only when the schedule is asked."""
    last = task.last_run_at or task.date_changed
    return last is None or math.isfinite(schedule.remaining_estimate(last).total_seconds())


def _holds(text: str | None, shape: type) -> bool:
    try:
        value: Any = json.loads(text) if text else shape()
    except ValueError:
        return False
    return isinstance(value, shape)


def _in_a_line(error: BaseException) -> str:
    return " ".join((str(error) or type(error).__name__).split())[:200]
