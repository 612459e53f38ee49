"""Edits of one schedule: checked, tried, and made without touching those that share its rows."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo, available_timezones

from django.utils.translation import gettext as _
from django_celery_beat.models import CrontabSchedule, IntervalSchedule, PeriodicTask, PeriodicTasks

from jobs.models import CatchUp, Overlap, SchedulePolicy
from jobs.ticks.deciding import Plan
from jobs.ticks.plans import UNREADABLE, cron_of, expression, in_a_line, plan_of

LONGEST_JITTER = 3_600.0
LONGEST_EVERY = 366 * 86_400
ORDER = ("minute", "hour", "day_of_month", "month_of_year", "day_of_week")
POLICY = ("overlap", "catch_up", "jitter", "owner", "note")
LENGTHS = {"owner": 150, "note": 500}


@dataclass(frozen=True)
class Wish:
    """What is to be otherwise; None stays as it is."""

    cron: str | None = None
    zone: str | None = None
    every: int | None = None
    overlap: str | None = None
    catch_up: str | None = None
    jitter: float | None = None
    owner: str | None = None
    note: str | None = None

    @property
    def changes_rhythm(self) -> bool:
        """Whether it is due at other times."""
        return self.cron is not None or self.zone is not None or self.every is not None


def wish_problem(wish: Wish, row: PeriodicTask) -> str | None:
    """Why it can't be, in a line; found at once, whatever it asks for."""
    if wish.every is not None and (wish.cron is not None or wish.zone is not None):
        return _("Give a crontab or an interval, not both.")
    if wish.every is not None and not 1 <= wish.every <= LONGEST_EVERY:
        return _("An interval lasts from a second to a year.")
    if wish.zone is not None and wish.zone not in available_timezones():
        return _("There is no such time zone.")
    return _cron_problem(wish, row) or policy_problem(wish)


def _cron_problem(wish: Wish, row: PeriodicTask) -> str | None:
    if wish.cron is None and (wish.zone is None or row.crontab is not None):
        return None
    fields = fields_of(wish, row)
    if len(fields) != len(ORDER):
        return _("A crontab has five fields: minute, hour, day of the month, month, day of the week.")
    try:
        cron_of(fields, ZoneInfo("UTC"))
    except UNREADABLE as fault:
        return in_a_line(fault)
    too_long = [
        name for name in ORDER if len(fields[name]) > (CrontabSchedule._meta.get_field(name).max_length or 0)
    ]
    return _("%(field)s is too long") % {"field": too_long[0]} if too_long else None


def policy_problem(wish: Wish) -> str | None:
    """Why no schedule can have such a policy, in a line."""
    if wish.overlap is not None and wish.overlap not in Overlap.values:
        return _("The overlap is one of %(known)s.") % {"known": ", ".join(Overlap.values)}
    if wish.catch_up is not None and wish.catch_up not in CatchUp.values:
        return _("The catch-up is one of %(known)s.") % {"known": ", ".join(CatchUp.values)}
    if wish.jitter is not None and not 0 <= wish.jitter <= LONGEST_JITTER:
        return _("The jitter lasts from nothing to an hour.")
    long = [name for name, most in LENGTHS.items() if len(getattr(wish, name) or "") > most]
    return _("%(field)s is too long") % {"field": long[0]} if long else None


def fields_of(wish: Wish, row: PeriodicTask) -> dict[str, str]:
    """The five fields of its crontab, by the names of the columns; others if it can't be read."""
    text = wish.cron if wish.cron is not None else expression(row.crontab) if row.crontab else ""
    return dict(zip(ORDER, text.split(), strict=False)) if len(text.split()) == len(ORDER) else {}


def tried(wish: Wish, row: PeriodicTask, now: datetime) -> Plan:
    """The plan as it would be; nothing is written. Raises Unreadable."""
    like = PeriodicTask(pk=row.pk, start_time=row.start_time, expires=row.expires, one_off=row.one_off)
    like.interval, like.crontab, like.solar, like.clocked = row.interval, row.crontab, row.solar, row.clocked
    if wish.every is not None:
        like.interval, like.crontab = IntervalSchedule(every=wish.every, period="seconds"), None
    elif wish.changes_rhythm:
        like.interval, like.crontab = None, CrontabSchedule(**_cron_columns(wish, row))
    if wish.changes_rhythm:
        like.solar = like.clocked = None
    return plan_of(like, now)


def apply(wish: Wish, row: PeriodicTask, now: datetime) -> None:
    """Write it, in the transaction at hand. What others share stays as it is: this one gets another row."""
    if wish.changes_rhythm:
        none = dict.fromkeys(("interval", "crontab", "solar", "clocked"))
        columns = {**none, **_rhythm(wish, row), "date_changed": now}
        PeriodicTask.objects.filter(pk=row.pk).update(**columns)
    wished = {name: getattr(wish, name) for name in POLICY if getattr(wish, name) is not None}
    if wished:
        SchedulePolicy.objects.update_or_create(schedule=row, defaults=wished)
    PeriodicTasks.update_changed()


def _rhythm(wish: Wish, row: PeriodicTask) -> dict[str, object]:
    if wish.every is not None:
        fields = {"every": wish.every, "period": "seconds"}
        found = IntervalSchedule.objects.filter(**fields).first()
        return {"interval": found or IntervalSchedule.objects.create(**fields)}
    columns = _cron_columns(wish, row)
    known = CrontabSchedule.objects.filter(**columns).first()
    return {"crontab": known or CrontabSchedule.objects.create(**columns)}


def _cron_columns(wish: Wish, row: PeriodicTask) -> dict[str, str]:
    zone = wish.zone or (str(row.crontab.timezone) if row.crontab else "UTC")
    return {**fields_of(wish, row), "timezone": zone}
