"""Which notices share a message, which goes first, and when a failed one goes again: pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.alerts.parcels import (
    GIVEN_UP_AFTER,
    LONGEST_PAUSE,
    MOST_IN_ONE,
    Parcel,
    Row,
    admitted,
    is_stale,
    next_of,
    pause_after,
)

NOW = datetime(2026, 11, 22, 3, tzinfo=UTC)
SOON = NOW + timedelta(seconds=0.5)


def row(
    number: int, rule: int | None = 1, event: str = "firing", parcel: str | None = None, **told: object
) -> Row:
    return Row(number, 7, rule, event, parcel, **{"attempts": 0, "next_try": NOW, **told})  # type: ignore[arg-type]


def test_what_one_rule_finds_goes_in_one_message_with_what_has_just_come() -> None:
    found = next_of([row(2), row(1), row(3, next_try=SOON)], NOW)
    assert found == Parcel(7, (1, 2, 3))


@pytest.mark.parametrize(
    "other", [row(2, rule=2), row(2, event="resolved"), row(2, parcel="begun"), row(2, rule=None)]
)
def test_another_rule_event_or_begun_message_is_another_one(other: Row) -> None:
    assert next_of([row(1), other], NOW) == Parcel(7, (1,))


def test_each_test_is_a_message_of_its_own() -> None:
    assert next_of([row(1, rule=None, event="test"), row(2, rule=None, event="test")], NOW) == Parcel(7, (1,))


def test_nothing_goes_before_its_time() -> None:
    assert next_of([row(1, next_try=SOON)], NOW) is None
    assert next_of([], NOW) is None


def test_a_message_that_was_begun_stays_the_same() -> None:
    begun = [row(each, parcel="p", attempts=2, began_at=NOW) for each in range(1, MOST_IN_ONE + 5)]
    found = next_of([*begun, row(99)], NOW)
    assert found == Parcel(7, tuple(range(1, MOST_IN_ONE + 5)), "p", 2, interrupted=True)


def test_a_message_has_bounds() -> None:
    found = next_of([row(each) for each in range(1, 200)], NOW)
    assert found is not None
    assert found.notices == tuple(range(1, MOST_IN_ONE + 1))


@given(
    attempts=st.lists(st.integers(0, 3), max_size=30),
    free=st.integers(0, 8),
    on_their_way_again=st.integers(0, 8),
)
def test_what_failed_before_never_takes_more_than_half(
    attempts: list[int], free: int, on_their_way_again: int
) -> None:
    parcels = [
        Parcel(place, (place,), None, count % 3, failing=count == 3) for place, count in enumerate(attempts)
    ]
    chosen = admitted(parcels, free, on_their_way_again, 8)
    again = sum(parcel.doubtful for parcel in chosen)
    assert len(chosen) <= free
    assert again == 0 or again + on_their_way_again <= 4
    new = sum(not parcel.doubtful for parcel in parcels)
    assert sum(not parcel.doubtful for parcel in chosen) == min(new, free)


def test_pauses_grow_up_to_the_longest() -> None:
    seconds = [pause_after(attempt, final=False).total_seconds() for attempt in range(1, 10)]
    assert seconds == [5, 10, 20, 40, 80, 160, 320, 600, 600]
    assert pause_after(10_000, final=False).total_seconds() == LONGEST_PAUSE


def test_what_only_people_can_mend_is_tried_rarely() -> None:
    assert pause_after(1, final=True).total_seconds() == LONGEST_PAUSE


def test_old_news_are_given_up() -> None:
    assert is_stale(NOW - GIVEN_UP_AFTER, NOW)
    assert not is_stale(NOW - GIVEN_UP_AFTER + timedelta(seconds=1), NOW)
