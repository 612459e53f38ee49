"""One word for a queue, and when it will be empty."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.queue_verdicts import QUEUE_VERDICTS, Pace, drain, drains_in, verdict


def pace(depth: int | None = 600, incoming: float = 2.0, outgoing: float = 2.0, **more: Any) -> Pace:
    return Pace(depth, incoming, outgoing, **more)


@pytest.mark.parametrize("state", ["none", "unknown", "paused", "idle"])
def test_what_its_state_says_stays(state: Any) -> None:
    assert verdict(state, pace(incoming=9.0, busy=4, slots=4)) == state


def test_a_late_queue_whose_slots_are_all_busy_is_at_capacity() -> None:
    assert verdict("late", pace(busy=4, slots=4)) == "capacity"
    assert verdict("late", pace(busy=3, slots=4)) == "late"


def test_a_late_queue_that_gets_longer_is_growing() -> None:
    assert verdict("late", pace(incoming=3.0, busy=1, slots=4)) == "growing"


def test_capacity_that_is_not_known_is_not_used_up() -> None:
    assert verdict("late", pace(busy=None, slots=None)) == "late"
    assert verdict("late", pace(busy=0, slots=0)) == "late"


def test_a_backlog_within_its_target_grows_or_drains() -> None:
    assert verdict("healthy", pace(incoming=3.0)) == "growing"
    assert verdict("healthy", pace(incoming=1.0)) == "draining"
    assert verdict("healthy", pace()) == "healthy"


def test_what_waits_less_than_a_minute_is_no_backlog() -> None:
    assert verdict("healthy", pace(depth=100, incoming=9.0)) == "healthy"
    assert drain(pace(depth=100, incoming=9.0)) == "nothing"


def test_it_drains_by_what_goes_less_what_comes() -> None:
    assert drains_in(pace(incoming=1.0)) == 600.0
    assert drain(pace(incoming=1.0)) == "drains"


def test_it_never_drains_where_as_much_comes_as_goes() -> None:
    assert (drains_in(pace()), drain(pace())) == (None, "never")
    assert drain(pace(depth=1, incoming=0.0, outgoing=0.0)) == "never"


def test_what_is_not_known_is_said() -> None:
    assert (drains_in(pace(depth=None)), drain(pace(depth=None))) == (None, "unknown")


RATES = st.floats(0, 1e6)
NUMBERS = st.none() | st.integers(0, 10**9)


@given(
    state=st.sampled_from(["none", "late", "unknown", "paused", "healthy", "idle"]),
    told=st.builds(Pace, NUMBERS, RATES, RATES, NUMBERS, NUMBERS),
)
def test_each_queue_has_a_word_and_a_time_that_agree(state: Any, told: Pace) -> None:
    assert verdict(state, told) in QUEUE_VERDICTS
    seconds = drains_in(told)
    assert seconds is None or seconds >= 0
    assert (drain(told) == "drains") <= (seconds is not None)
    assert (drain(told) == "never") <= (seconds is None)
