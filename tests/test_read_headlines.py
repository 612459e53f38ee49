"""The headline figures, as the glossary defines them."""

from __future__ import annotations

import pytest

from jobs.headlines import (
    Flow,
    hourly_ends,
    hourly_shares,
    last_day,
    peak,
    rate_now,
    recent,
    share,
)

MINUTE = 29_000_000
NOON = 483_334  # an hour
AT = MINUTE * 60.0


def ended(succeeded: int, failed: int = 0, stopped: int = 0) -> Flow:
    return Flow(succeeded=succeeded, failed=failed, stopped=stopped)


def test_jobs_per_hour_scale_five_whole_minutes_and_the_running_one_by_the_time_they_cover() -> None:
    minutes = {MINUTE - back: ended(10) for back in range(10)}
    # 60 jobs in 5 minutes and 30 seconds
    assert rate_now(minutes, AT + 30, MINUTE - 60) == pytest.approx(60 * 3600 / 330)


def test_every_end_counts_as_a_job_of_the_hour() -> None:
    assert rate_now({MINUTE - 1: ended(1, 2, 3)}, AT, MINUTE - 60) == pytest.approx(6 * 12)


def test_a_record_that_has_just_begun_is_scaled_by_what_it_covers() -> None:
    assert rate_now({MINUTE: ended(10)}, AT + 30, MINUTE) == pytest.approx(10 * 120)


def test_the_first_moment_divides_by_no_less_than_a_second() -> None:
    assert rate_now({MINUTE: ended(1)}, AT, MINUTE) == 3600


def test_an_idle_hour_has_a_rate_of_nothing_and_an_unknown_one_has_none() -> None:
    assert rate_now({}, AT, MINUTE - 60) == 0
    assert rate_now({}, AT, None) is None


def test_the_peak_is_the_best_clock_hour_of_the_last_24() -> None:
    hours = {NOON - 24: ended(999), NOON - 23: ended(70, 2, 3), NOON - 1: ended(60), NOON: ended(10)}
    assert peak(hours, NOON * 3600.0 + 5, NOON - 30) == (75, (NOON - 23) * 3600)


def test_without_a_job_there_is_no_peak() -> None:
    assert peak({}, NOON * 3600.0, None) is None
    assert peak({NOON - 1: ended(0)}, NOON * 3600.0, NOON - 1) is None


def test_the_running_hour_is_the_peak_only_beside_a_whole_one() -> None:
    at = NOON * 3600.0 + 1800
    assert peak({NOON: ended(955)}, at, NOON) is None
    assert peak({NOON - 1: ended(60), NOON: ended(955)}, at, NOON - 1) == (955, NOON * 3600)


def test_the_success_rate_looks_at_final_outcomes_alone() -> None:
    assert share(ended(97, 3, 50)) == 0.97


def test_where_nothing_succeeded_or_failed_there_is_no_success_rate() -> None:
    assert share(ended(0, 0, 50)) is None


def test_the_last_day_ends_to_the_minute() -> None:
    hours = {NOON - 25: ended(1000), NOON - 24: ended(60), NOON - 1: ended(5), NOON: ended(7)}
    # at a quarter past: of the hour before, the first 15 minutes are out
    assert last_day(hours, ended(15), NOON * 3600.0 + 900).succeeded == 60 - 15 + 5 + 7


def test_recent_is_fifteen_whole_minutes_and_the_running_one() -> None:
    minutes = {MINUTE - back: ended(1) for back in range(30)}
    assert recent(minutes, AT + 1).succeeded == 16


def test_hours_before_the_record_began_are_not_known() -> None:
    assert hourly_ends({NOON: ended(3)}, NOON * 3600.0, NOON - 2) == [None] * 21 + [0, 0, 3]
    assert hourly_ends({}, NOON * 3600.0, None) == [None] * 24


def test_an_hour_without_outcomes_has_no_share() -> None:
    assert hourly_shares({NOON: ended(3, 1), NOON - 1: ended(0, 0, 9)}, NOON * 3600.0)[-2:] == [None, 0.75]
