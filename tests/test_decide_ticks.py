"""When something is due, and what becomes of each tick: pure."""

from __future__ import annotations

import itertools
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

import pytest
from celery.schedules import solar
from hypothesis import given
from hypothesis import strategies as st

from jobs.ticks.deciding import (
    LISTED,
    Outcome,
    Plan,
    Reason,
    decide,
    due_between,
    fires_at,
    next_due,
)
from jobs.ticks.plans import UNREADABLE, cron_of
from jobs.ticks.rhythms import Cron, Interval, Moment, Sun

NOON = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def cron(minute: str = "*", hour: str = "*", zone: str = "UTC", **fields: str) -> Cron:
    every = {"day_of_week": "*", "day_of_month": "*", "month_of_year": "*"}
    return cron_of({**every, "minute": minute, "hour": hour, **fields}, ZoneInfo(zone))


def plan(rhythm: Any, **wishes: Any) -> Plan:
    return Plan(1, rhythm, **wishes)


def each(seconds: float, **wishes: Any) -> Plan:
    return plan(Interval(timedelta(seconds=seconds), NOON), **wishes)


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[misc,arg-type]


def of_a_year(rhythm: Cron, year: int = 2026) -> list[datetime]:
    start = datetime(year, 1, 1, tzinfo=rhythm.zone).astimezone(UTC)
    end = datetime(year + 1, 1, 1, tzinfo=rhythm.zone).astimezone(UTC)
    return list(due_between(plan(rhythm), start - SECOND, end - SECOND))


@pytest.mark.parametrize("zone", ["America/New_York", "Europe/Paris", "Australia/Lord_Howe"])
@pytest.mark.parametrize("hour", [0, 1, 2, 3, 4, 23])
@pytest.mark.parametrize("minute", [0, 15, 30, 59])
def test_a_daily_tick_comes_once_each_day_of_a_year(zone: str, hour: int, minute: int) -> None:
    dues = of_a_year(cron(str(minute), str(hour), zone))
    days = [due.astimezone(ZoneInfo(zone)).date() for due in dues]
    assert days == [date(2026, 1, 1) + timedelta(days=number) for number in range(365)]


@pytest.mark.parametrize(
    ("zone", "minute", "hour", "day", "expected"),
    [
        # Clocks go from 02:00 to 03:00 on 8 March, and from 02:00 back to 01:00 on 1 November.
        ("America/New_York", "30", "2", (2026, 3, 8), [utc(2026, 3, 8, 7, 30)]),
        ("America/New_York", "30", "1", (2026, 11, 1), [utc(2026, 11, 1, 5, 30)]),
        ("America/New_York", "0", "2,3", (2026, 3, 8), [utc(2026, 3, 8, 7, 0)]),
        ("Europe/Paris", "30", "2", (2026, 3, 29), [utc(2026, 3, 29, 1, 30)]),
        ("Europe/Paris", "30", "2", (2026, 10, 25), [utc(2026, 10, 25, 0, 30)]),
        # By half an hour, from 02:00 to 02:30 on 4 October, and from 02:00 back to 01:30 on 5 April.
        ("Australia/Lord_Howe", "15", "2", (2026, 10, 4), [utc(2026, 10, 3, 15, 45)]),
        ("Australia/Lord_Howe", "45", "1", (2026, 4, 5), [utc(2026, 4, 4, 14, 45)]),
    ],
)
def test_where_clocks_change_a_named_time_comes_once(
    zone: str, minute: str, hour: str, day: tuple[int, int, int], expected: list[datetime]
) -> None:
    midnight = datetime(*day, tzinfo=ZoneInfo(zone)).astimezone(UTC)
    rhythm = plan(cron(minute, hour, zone))
    assert list(due_between(rhythm, midnight - SECOND, midnight + timedelta(hours=22))) == expected


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        ("America/New_York", (2026, 3, 8), 23),
        ("America/New_York", (2026, 11, 1), 25),
        ("Europe/Paris", (2026, 10, 25), 25),
        ("Asia/Kolkata", (2026, 10, 25), 24),
    ],
)
def test_what_runs_in_every_hour_follows_the_clock_on_the_wall(
    zone: str, day: tuple[int, int, int], hours: int
) -> None:
    here = ZoneInfo(zone)
    midnight = datetime(*day, tzinfo=here)
    end = (datetime(*day, tzinfo=here) + timedelta(days=1)).astimezone(UTC)
    dues = list(due_between(plan(cron("*/15", "*", zone)), midnight.astimezone(UTC) - SECOND, end - SECOND))
    assert len(dues) == 4 * hours
    assert {later - sooner for sooner, later in itertools.pairwise(dues)} == {timedelta(minutes=15)}


def test_lord_howe_keeps_its_minutes_over_the_half_hour() -> None:
    dues = list(
        due_between(plan(cron("0", "*", "Australia/Lord_Howe")), utc(2026, 10, 3, 14), utc(2026, 10, 3, 17))
    )
    # 02:00 does not exist: 01:00 at UTC+10:30 is followed by 03:00 at UTC+11.
    assert dues == [utc(2026, 10, 3, 14, 30), utc(2026, 10, 3, 16, 0), utc(2026, 10, 3, 17, 0)]


def naive_dues(rhythm: Cron, start: datetime, end: datetime) -> set[datetime]:
    """Every minute that there is, asked for its face on the wall: the times that exist, once."""
    found: dict[tuple[Any, ...], datetime] = {}
    moment = start
    while moment <= end:
        wall = moment.astimezone(rhythm.zone)
        if wall.hour in rhythm.hours and wall.minute in rhythm.minutes:
            face = (wall.date(), wall.hour, wall.minute, moment if len(rhythm.hours) == 24 else None)
            found.setdefault(face, moment)
        moment += timedelta(minutes=1)
    return set(found.values())


@given(
    zone=st.sampled_from(sorted(available_timezones() - {"localtime", "Factory"})),
    hours=st.sampled_from(["*", "*/2", "0-4", "1,2,3", "23"]),
    minutes=st.sampled_from(["0", "*/20", "7,37", "59"]),
    day=st.dates(date(2026, 1, 1), date(2026, 12, 30)),
)
def test_no_due_tick_is_absent_in_any_zone(zone: str, hours: str, minutes: str, day: date) -> None:
    rhythm = cron(minutes, hours, zone)
    start = datetime(day.year, day.month, day.day, tzinfo=UTC)
    end = start + timedelta(days=1, hours=12)
    found = list(due_between(plan(rhythm), start - SECOND, end))
    assert found == sorted(set(found))
    # Before `start` the first of two may lie: look at what exists from a day before.
    told = {due for due in naive_dues(rhythm, start - timedelta(days=1), end) if due >= start}
    assert told <= set(found)
    put_off = set(found) - told
    assert all(len(rhythm.hours) < 24 for _ in put_off)
    assert all(_clock_jumped_on(rhythm.zone, due) for due in put_off)


def _clock_jumped_on(zone: ZoneInfo, due: datetime) -> bool:
    offsets = {(due + timedelta(hours=hours)).astimezone(zone).utcoffset() for hours in range(-26, 27)}
    return len(offsets) > 1


@pytest.mark.slow
@pytest.mark.parametrize("zone", sorted(available_timezones() - {"localtime", "Factory"}))
def test_a_daily_tick_comes_once_a_day_in_every_zone(zone: str) -> None:
    for hour in ("0", "2", "23"):
        days = [due.astimezone(ZoneInfo(zone)).date() for due in of_a_year(cron("30", hour, zone))]
        assert len(set(days)) >= 364
        assert len(days) == 365


def ticks_of_a_year(event: Any, latitude: float, longitude: float) -> list[datetime]:
    sun, begin = Sun(solar(event, latitude, longitude)), datetime(2026, 1, 1, tzinfo=UTC)
    return list(due_between(plan(sun), begin, begin + timedelta(days=365)))


@pytest.mark.parametrize("place", [(51.5, 0.0), (0.0, 180.0), (-33.9, 151.2)])
@pytest.mark.parametrize("event", ["dawn_nautical", "sunrise", "solar_noon", "sunset", "dusk_civil"])
def test_the_sun_rises_and_sets_once_a_day(event: str, place: tuple[float, float]) -> None:
    found = ticks_of_a_year(event, *place)
    apart = [(later - earlier).total_seconds() / 3600 for earlier, later in itertools.pairwise(found)]
    assert 364 <= len(found) <= 366
    assert min(apart) > 23
    assert max(apart) < 25


def test_where_the_sun_does_not_rise_for_months_nothing_is_due() -> None:
    found = ticks_of_a_year("sunrise", 69.65, 18.96)
    assert max(later - earlier for earlier, later in itertools.pairwise(found)) > timedelta(days=60)
    assert not ticks_of_a_year("sunrise", 90, 0)


@given(st.floats(0, 365))
def test_an_event_of_the_sun_is_due_at_one_minute_whenever_one_asks(day: float) -> None:
    sun, moment = Sun(solar("dawn_nautical", 51.5, 0)), datetime(2026, 1, 1, tzinfo=UTC) + timedelta(day)
    due = sun.after(moment)
    assert due is not None
    assert due > moment
    assert sun.after(moment + (due - moment) * 0.999) == due


def test_day_and_weekday_must_both_fit_as_celery_has_it() -> None:
    friday_13 = cron("0", "0", day_of_month="13", day_of_week="5")
    assert next_due(plan(friday_13), NOON) == utc(2027, 8, 13)


@pytest.mark.parametrize(
    "fields",
    [
        {"minute": "1--100000000"},
        {"minute": "1-100000000"},
        {"minute": "*/0"},
        {"hour": "0-99999999999/1"},
        {"day_of_month": "30", "month_of_year": "2"},
        {"minute": "0," * 500_000 + "0"},
        {"day_of_week": "9"},
        {"minute": ""},
        {"minute": "*/99999999999999999999999999x"},
    ],
)
def test_what_asks_for_too_much_is_refused(fields: dict[str, str]) -> None:
    with pytest.raises(UNREADABLE):
        cron(**fields)


@given(
    every=st.floats(0.1, 100_000),
    offset=st.integers(-10_000, 10_000),
    later=st.floats(0, 1_000_000),
)
def test_an_interval_has_the_same_ticks_wherever_one_begins(every: float, offset: int, later: float) -> None:
    step = timedelta(seconds=every)
    rhythm = Interval(step, NOON)
    moment = NOON + timedelta(seconds=later)
    due = rhythm.after(moment)
    assert due is not None
    assert moment < due <= moment + step
    assert Interval(step, NOON + offset * step).after(moment) == due


def test_a_start_is_the_first_tick_of_an_interval_and_the_earliest_of_a_crontab() -> None:
    start = NOON + timedelta(hours=1)
    assert next_due(plan(Interval(timedelta(hours=7), start), starts=start), NOON) == start
    assert next_due(plan(cron("30", "2"), starts=start), NOON) == utc(2026, 11, 22, 2, 30)


def test_nothing_is_due_after_its_end() -> None:
    ends = NOON + 3 * SECOND
    assert [ruling.due for ruling in decide(each(1, ends=ends), NOON, NOON + 9 * SECOND)] == [
        NOON + SECOND,
        NOON + 2 * SECOND,
    ]


def told(rulings: list[Any]) -> list[tuple[str, str, int]]:
    return [(str(ruling.outcome), str(ruling.reason), ruling.count) for ruling in rulings]


def test_what_is_a_little_late_is_all_sent() -> None:
    assert told(decide(each(10), NOON, NOON + 30 * SECOND)) == [("fired", "", 1)] * 3


@pytest.mark.parametrize(
    ("catch_up", "expected"),
    [
        ("skip", [("missed", "away", 1)] * 3),
        ("once", [("missed", "later", 1)] * 2 + [("fired", "caught up", 1)]),
        ("all", [("fired", "caught up", 1)] * 3),
    ],
)
def test_after_an_absence_the_policy_decides(catch_up: str, expected: list[tuple[str, str, int]]) -> None:
    now = NOON + timedelta(seconds=3 * 3600 + 60)
    assert told(decide(each(3600, catch_up=catch_up), NOON, now)) == expected


def test_the_latest_is_not_made_up_for_where_another_is_sent_on_time() -> None:
    rulings = decide(each(20), NOON, NOON + timedelta(seconds=65))
    assert told(rulings) == [("missed", "later", 1), ("fired", "", 1), ("fired", "", 1)]


def test_after_a_long_absence_the_oldest_ticks_are_told_as_one() -> None:
    rulings = decide(each(1), NOON, NOON + timedelta(days=2))
    folded, *others = rulings
    assert (folded.outcome, folded.due, folded.count) == (Outcome.MISSED, NOON + SECOND, 172_800 - LISTED)
    assert others[0].due == folded.last + SECOND
    assert len(others) == LISTED
    daily = decide(plan(cron()), NOON, NOON + timedelta(days=2))
    assert sum(ruling.count for ruling in daily) == 2_880


def test_who_decides_a_long_absence_is_heard_of_meanwhile() -> None:
    signs: list[int] = []
    decide(plan(cron()), NOON, NOON + timedelta(days=1), meanwhile=lambda: signs.append(1))
    assert len(signs) >= 1_440


def test_years_of_absence_end_soon() -> None:
    rulings = decide(plan(cron("0", "0", day_of_month="29", month_of_year="2")), utc(2001, 1, 1), NOON)
    assert [ruling.due.year for ruling in rulings] == [2004, 2008, 2012, 2016, 2020, 2024]
    assert rulings[-1].reason == Reason.CAUGHT_UP


def test_one_occurrence_is_left_out() -> None:
    rulings = decide(each(10, skip_due=NOON + 20 * SECOND, skipped_by="ana"), NOON, NOON + 30 * SECOND)
    assert told(rulings) == [("fired", "", 1), ("skipped", "asked", 1), ("fired", "", 1)]
    assert rulings[1].detail == "ana"


def test_what_is_due_in_a_pause_is_not_sent_afterwards() -> None:
    until = NOON + timedelta(minutes=10)
    rulings = decide(each(60, paused_until=until), NOON, until + 5 * SECOND)
    assert told(rulings) == [("paused", "asked", 1)] * 9 + [("fired", "", 1)]


@pytest.mark.parametrize(
    ("overlap", "running", "waits", "expected"),
    [
        ("allow", "a", False, ["fired", "fired", "fired"]),
        ("skip", "a", False, ["overlapped", "overlapped", "overlapped"]),
        ("skip", None, False, ["fired", "overlapped", "overlapped"]),
        ("queue", "a", False, ["held", "overlapped", "overlapped"]),
        ("queue", None, False, ["fired", "held", "overlapped"]),
        ("queue", "a", True, ["overlapped", "overlapped", "overlapped"]),
    ],
)
def test_what_overlaps_is_sent_left_out_or_waits(
    overlap: str, running: str | None, waits: bool, expected: list[str]
) -> None:
    rulings = decide(each(10, overlap=overlap), NOON, NOON + 30 * SECOND, running, waits)
    assert [str(ruling.outcome) for ruling in rulings] == expected


def test_what_runs_once_is_sent_once() -> None:
    rulings = decide(each(10, once=True), NOON, NOON + 30 * SECOND)
    assert told(rulings) == [("fired", "", 1)]
    late = decide(plan(Moment(NOON), once=True), NOON - SECOND, NOON + timedelta(days=1))
    assert told(late) == [("fired", "caught up", 1)]


@given(
    jitter=st.floats(0.001, 100),
    steps=st.lists(st.floats(0.1, 40), min_size=1, max_size=30),
)
def test_jitter_moves_a_tick_and_drops_none(jitter: float, steps: list[float]) -> None:
    spread = each(10, jitter=jitter)
    after = now = NOON
    sent = []
    for step in steps:
        now += timedelta(seconds=step)
        for ruling in decide(spread, after, now):
            assert ruling.due <= fires_at(spread, ruling.due) <= now
            sent += [ruling.due] * ruling.count
            after = ruling.last
    assert sent == list(due_between(spread, NOON, after))
    assert after > now - timedelta(seconds=10 + jitter + 0.001)


@given(
    steps=st.lists(st.floats(0.01, 90), min_size=1, max_size=40),
    catch_up=st.sampled_from(["skip", "once", "all"]),
    every=st.sampled_from([1, 7, 30, 600]),
)
def test_each_tick_is_decided_once_however_often_beat_looks(
    steps: list[float], catch_up: str, every: int
) -> None:
    wanted = each(every, catch_up=catch_up)
    after = now = NOON
    dues: list[datetime] = []
    for step in steps:
        now += timedelta(seconds=step)
        for ruling in decide(wanted, after, now):
            dues += [ruling.due]
            after = ruling.last
    assert dues == list(due_between(wanted, NOON, now))
