"""When something is due: pure answers about intervals, crontabs, moments and the sun.

Each rhythm has `after(moment)`: the first due time after an aware moment, in
UTC, or None. The same schedule has the same due times whoever asks.

The rule where clocks change, for a crontab: one that runs in every hour
follows the clock on the wall (times that don't exist are left out, those that
come twice run twice). One that names hours runs once for each time that it
names: a time that doesn't exist is put off by as much as the clock jumps, one
that comes twice is the first of the two.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Any, Protocol
from zoneinfo import ZoneInfo

ONE_DAY = timedelta(days=1)
LEAST = timedelta(microseconds=1)
# 29 February on a given day of the week comes once in 28 years, around 2100 in 40.
MOST_YEARS = 41


class Rhythm(Protocol):
    """When something is due."""

    def after(self, moment: datetime) -> datetime | None:
        """The first due time after `moment`; None if there is none any more."""
        ...


@dataclass(frozen=True)
class Interval:
    """Every so often, counted from an anchor."""

    every: timedelta
    anchor: datetime

    def after(self, moment: datetime) -> datetime | None:
        steps = (moment - self.anchor) // self.every + 1
        try:
            return self.anchor + steps * self.every
        except OverflowError:
            return None


@dataclass(frozen=True)
class Moment:
    """Once."""

    at: datetime

    def after(self, moment: datetime) -> datetime | None:
        return self.at if self.at > moment else None


@dataclass(frozen=True)
class Sun:
    """At an event of the sun, by Celery's own reckoning (`celery.schedules.solar`), to the minute."""

    solar: Any

    def after(self, moment: datetime) -> datetime | None:
        asked = moment - timedelta(minutes=10)
        for _ in range(3):
            due = self._due_after(asked)
            if due > moment:
                return due
            asked = due + timedelta(hours=1)
        return None

    def _due_after(self, moment: datetime) -> datetime:
        """The minute of the next event, the same whenever one asks: the reckoning itself varies by parts of
        a second with where it begins, so it begins once more, at the hour before the event's own.
        """
        rough = self._event_after(moment)
        exact = self._event_after(rough.replace(minute=0, second=0, microsecond=0) - timedelta(hours=1))
        event = exact if abs(exact - rough) < timedelta(minutes=1) else rough
        return (event + timedelta(seconds=30)).replace(second=0, microsecond=0)

    def _event_after(self, moment: datetime) -> datetime:
        self.solar.nowfun = lambda: moment
        remaining: timedelta = self.solar.remaining_estimate(moment)
        return (moment + remaining).astimezone(UTC)


@dataclass(frozen=True)
class Cron:
    """At given minutes of given hours, on days whose number AND day of the week fit (Sunday is 0)."""

    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    zone: ZoneInfo

    def after(self, moment: datetime) -> datetime | None:
        today = moment.astimezone(self.zone).date()
        begin = today if _offset_all_day(self.zone, today - ONE_DAY) is not None else today - ONE_DAY
        found: datetime | None = None
        for day in self._days_from(begin):
            due = self._first_on(day, moment)
            if due is not None:
                found = due if found is None else min(found, due)
            # What a change of clocks puts off may fall into the next day.
            if found is not None and _offset_all_day(self.zone, day) is not None:
                break
        return found

    def _days_from(self, day: date) -> Iterator[date]:
        last_year = min(day.year + MOST_YEARS, 9998)
        while day.year <= last_year:
            if day.month not in self.months:
                day = date(day.year + day.month // 12, day.month % 12 + 1, 1)
                continue
            if day.day in self.days and day.isoweekday() % 7 in self.weekdays:
                yield day
            day += ONE_DAY

    def _first_on(self, day: date, moment: datetime) -> datetime | None:
        offset = _offset_all_day(self.zone, day)
        if offset is None:
            return next((due for due in _on_changing_day(self, day) if due > moment), None)
        wall = moment.astimezone(UTC).replace(tzinfo=None) + offset
        if wall.date() > day:
            return None
        time = self._next_time(wall) if wall.date() == day else (self.hours[0], self.minutes[0])
        if time is None:
            return None
        return datetime(day.year, day.month, day.day, *time, tzinfo=UTC) - offset

    def _next_time(self, wall: datetime) -> tuple[int, int] | None:
        """Hour and minute on the same day, later than the minute that `wall` is in."""
        place = bisect_left(self.hours, wall.hour)
        if place < len(self.hours) and self.hours[place] == wall.hour:
            later = bisect_right(self.minutes, wall.minute)
            if later < len(self.minutes):
                return wall.hour, self.minutes[later]
            place += 1
        return (self.hours[place], self.minutes[0]) if place < len(self.hours) else None


@lru_cache(maxsize=8_192)
def _offset_all_day(zone: ZoneInfo, day: date) -> timedelta | None:
    """How far the zone is from UTC on this day; None if that changes on it."""
    midnight = datetime(day.year, day.month, day.day, tzinfo=zone)
    offset = midnight.utcoffset()
    return offset if (midnight + ONE_DAY).utcoffset() == offset else None


@lru_cache(maxsize=512)
def _on_changing_day(cron: Cron, day: date) -> tuple[datetime, ...]:
    """All due times of a day on which clocks change, in order."""
    by_the_wall = len(cron.hours) == 24
    found = set()
    for hour in cron.hours:
        for minute in cron.minutes:
            wall = datetime(day.year, day.month, day.day, hour, minute, tzinfo=cron.zone)
            first = wall.astimezone(UTC)
            exists = first.astimezone(cron.zone).replace(tzinfo=None) == wall.replace(tzinfo=None)
            if exists or not by_the_wall:
                found.add(first)
            if exists and by_the_wall:
                found.add(wall.replace(fold=1).astimezone(UTC))
    return tuple(sorted(found))
