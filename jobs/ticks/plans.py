"""From rows of django-celery-beat's tables to plans, and why a row can't be read.

Fields of a crontab are read as Celery reads them, each in bounds that it
checks itself: what asks for a hundred million minutes is refused at once.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

from celery.exceptions import ImproperlyConfigured
from celery.schedules import ParseException, crontab_parser
from django.core.exceptions import ObjectDoesNotExist
from django.utils.translation import gettext as _
from django_celery_beat.models import CrontabSchedule, IntervalSchedule, PeriodicTask, SolarSchedule

from jobs.models import SchedulePolicy, Timeline
from jobs.ticks.deciding import Plan
from jobs.ticks.rhythms import LEAST, Cron, Interval, Moment, Rhythm, Sun

# What the columns of a schedule can do wrong when they are read.
UNREADABLE: tuple[type[Exception], ...] = (
    ArithmeticError, AttributeError, ImproperlyConfigured, LookupError, ObjectDoesNotExist,
    ParseException, TypeError, ValueError, RuntimeError, OSError,
)  # fmt: skip
# Of a field of a crontab: how many values there are, and the least.
FIELDS = {
    "minute": (60, 0),
    "hour": (24, 0),
    "day_of_week": (7, 0),
    "day_of_month": (31, 1),
    "month_of_year": (12, 1),
}
DAYS_OF_MONTHS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
LONGEST_FIELD = 240
SHORTEST_INTERVAL = timedelta(milliseconds=100)
# Nearer to the ends of the calendar there is no room to reckon.
EARLIEST, LATEST_YEAR = datetime(1970, 1, 1, tzinfo=UTC), 9000


class Unreadable(ValueError):
    """Why a row is no schedule, in a line."""


def plan_of(task: PeriodicTask, anchor: datetime, policy: SchedulePolicy | None = None) -> Plan:
    """The plan of a row. An interval without a start counts from `anchor`. Raises Unreadable."""
    try:
        rhythm = _rhythm(task, task.start_time or anchor)
    except UNREADABLE as fault:
        raise Unreadable(in_a_line(fault)) from fault
    wishes = {} if policy is None else {name: getattr(policy, name) for name in WISHES}
    return Plan(
        key=task.pk or 0,
        rhythm=rhythm,
        starts=task.start_time,
        ends=task.expires,
        once=task.one_off or isinstance(rhythm, Moment),
        **wishes,
    )


WISHES = (
    "overlap", "catch_up", "jitter", "paused_until", "paused_by", "skip_due", "skipped_by",
)  # fmt: skip


def policy_of(task: PeriodicTask) -> SchedulePolicy | None:
    """What is wished of it; None for the defaults. Ask for it with select_related("policy")."""
    found: SchedulePolicy | None = getattr(task, "policy", None)
    return found


def timeline_of(task: PeriodicTask) -> Timeline | None:
    """How far it is decided; None if nobody has looked at it yet."""
    found: Timeline | None = getattr(task, "timeline", None)
    return found


def rhythm_text(task: PeriodicTask) -> str:
    """What a schedule is decided by, as a text: another text is another rhythm."""
    start = f" from {task.start_time.isoformat()}" if task.start_time else ""
    when: Any = task.scheduler
    if isinstance(when, CrontabSchedule):
        return f"cron {expression(when)} {when.timezone}{start}"
    if isinstance(when, IntervalSchedule):
        return f"every {when.every} {when.period}{start}"
    if isinstance(when, SolarSchedule):
        return f"sun {when.event} {when.latitude} {when.longitude}{start}"
    return f"at {when.clocked_time.isoformat()}" if when else "nothing"


def expression(cron: CrontabSchedule) -> str:
    """Minute, hour, day of the month, month, day of the week: as cron has them."""
    parts = (cron.minute, cron.hour, cron.day_of_month, cron.month_of_year, cron.day_of_week)
    return " ".join(str(part) for part in parts)


def beginning(task: PeriodicTask, known: Timeline | None, now: datetime) -> datetime:
    """After which moment the ticks of a schedule are to be decided."""
    if known is not None and known.rhythm == rhythm_text(task):
        return known.decided_until
    changed = task.date_changed
    if known is None:
        begin = task.last_run_at or (now if _was_off(task) else changed) or now
    else:
        edited = changed is not None and known.decided_until < changed <= now
        begin = changed if edited else max(now, known.decided_until)
    if task.clocked is not None:
        begin = min(begin, max(task.clocked.clocked_time, EARLIEST) - LEAST)
    return begin.astimezone(UTC)


def _was_off(task: PeriodicTask) -> bool:
    """Whether it has been switched off since it ran: django-celery-beat then forgets when that was."""
    return task.last_run_at is None and task.total_run_count > 0


def problem(task: PeriodicTask) -> str | None:
    """Why Beat can't run this schedule, in a line; None if it can.

    Being switched off, expired or done is no problem.
    """
    try:
        plan_of(task, task.date_changed or datetime.now(UTC))
    except Unreadable as fault:
        return _("the schedule can't be read: %(why)s") % {"why": fault}
    return message_problem(task)


def message_problem(task: PeriodicTask) -> str | None:
    """Why no job can be made of it, in a line."""
    for field, shape in (("args", list), ("kwargs", dict), ("headers", dict)):
        if not _holds(getattr(task, field), shape):
            return _("%(field)s is not a JSON %(shape)s") % {
                "field": field,
                "shape": _("list") if shape is list else _("object"),
            }
    return None


def cron_of(fields: dict[str, str], zone: ZoneInfo) -> Cron:
    """A crontab of its five fields, named as django-celery-beat's columns. Raises UNREADABLE."""
    values = {name: _values(name, str(fields[name])) for name in FIELDS}
    days, months = values["day_of_month"], values["month_of_year"]
    if min(days) > max(DAYS_OF_MONTHS[month - 1] for month in months):
        raise ValueError(_("there is no such day in these months"))
    return Cron(
        values["minute"],
        values["hour"],
        frozenset(days),
        frozenset(months),
        frozenset(values["day_of_week"]),
        zone,
    )


@lru_cache(maxsize=4_096)
def _values(name: str, text: str) -> tuple[int, ...]:
    if len(text) > LONGEST_FIELD:
        raise ValueError(_("%(field)s is too long") % {"field": name})
    try:
        values = crontab_parser(*FIELDS[name]).parse(text)
    except (ParseException, ValueError) as fault:
        raise ValueError(f"{name.replace('_', ' ')}: {fault}") from fault
    if not values:
        raise ValueError(_("%(field)s never comes") % {"field": name})
    return tuple(sorted(values))


def _rhythm(task: PeriodicTask, anchor: datetime) -> Rhythm:
    when: Any = task.scheduler
    if when is None:
        raise ValueError(_("it has no interval, crontab, clock time or solar event"))
    if isinstance(when, CrontabSchedule):
        zone = when.timezone if isinstance(when.timezone, ZoneInfo) else ZoneInfo(str(when.timezone))
        return cron_of({name: getattr(when, name) for name in FIELDS}, zone)
    if isinstance(when, IntervalSchedule):
        return _interval(timedelta(**{when.period: when.every}), anchor)
    if isinstance(when, SolarSchedule):
        sun = Sun(when.schedule)
        sun.after(datetime.now(UTC))  # some faults show only when it is asked
        return sun
    if not EARLIEST.year <= when.clocked_time.year <= LATEST_YEAR:
        raise ValueError(_("its time is before 1970 or after the year 9000"))
    return Moment(when.clocked_time.astimezone(UTC))


def _interval(every: timedelta, anchor: datetime) -> Interval:
    if every <= timedelta(0):
        raise ValueError(_("its interval is zero"))
    if every < SHORTEST_INTERVAL:
        raise ValueError(_("its interval is shorter than a tenth of a second"))
    return Interval(every, anchor.astimezone(UTC))


def _holds(text: str | None, shape: type) -> bool:
    try:
        value: Any = json.loads(text) if text else shape()
    except ValueError:
        return False
    return isinstance(value, shape)


def in_a_line(error: BaseException) -> str:
    """What a fault says, short."""
    return " ".join((str(error) or type(error).__name__).split())[:200]
