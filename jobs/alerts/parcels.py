"""Which notices go next, and in which message; when a delivery is tried again. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

# In seconds: the first pause, doubled after each failure up to the longest.
FIRST_PAUSE, LONGEST_PAUSE = 5.0, 600.0
# What was not delivered by then is not news any more.
GIVEN_UP_AFTER = timedelta(hours=12)
MOST_IN_ONE = 50


@dataclass(frozen=True)
class Row:
    """A notice that waits; those of a `rule` and an event go together, a test (no rule) goes alone."""

    id: int
    channel: int
    rule: int | None
    event: str
    parcel: str | None
    attempts: int
    next_try: datetime
    began_at: datetime | None = None

    @property
    def together(self) -> tuple[object, ...]:
        """What shares a message has the same."""
        if self.parcel is not None:
            return (self.parcel,)
        return (self.id,) if self.rule is None else (self.rule, self.event)


@dataclass(frozen=True)
class Parcel:
    """Notices that go to a channel in one message. `name` is None before the first attempt.

    It is `interrupted` if nobody knows what came of the attempt before, and `failing` if the last delivery
    to its channel did not go well.
    """

    channel: int
    notices: tuple[int, ...]
    name: str | None = None
    attempts: int = 0
    interrupted: bool = False
    failing: bool = False

    @property
    def doubtful(self) -> bool:
        """Whether it may well fail, or hang."""
        return self.attempts > 0 or self.failing


def next_of(rows: Sequence[Row], now: datetime) -> Parcel | None:
    """The next message of one channel, from its waiting notices in the order of their next try.

    A message that was begun is the same each time: what came later goes in the next one.
    """
    if not rows or rows[0].next_try > now:
        return None
    first = rows[0]
    shared = [row for row in rows if row.together == first.together]
    most = len(shared) if first.parcel is not None else MOST_IN_ONE
    ids = tuple(sorted(row.id for row in shared)[:most])
    return Parcel(first.channel, ids, first.parcel, first.attempts, first.began_at is not None)


def admitted(parcels: Iterable[Parcel], places: int, doubtful: int, most: int) -> list[Parcel]:
    """Those that go now: what is doubtful comes last, and never has more than half of `most` places.

    `places` are free; so many `doubtful` ones are on their way.
    """
    waiting = list(parcels)
    new = [parcel for parcel in waiting if not parcel.doubtful]
    again = [parcel for parcel in waiting if parcel.doubtful]
    spare = max(0, most // 2 - doubtful)
    return [*new, *again[:spare]][: max(0, places)]


def pause_after(attempts: int, *, final: bool) -> timedelta:
    """How long to wait after so many attempts; the longest pause where only people can mend it."""
    if final:
        return timedelta(seconds=LONGEST_PAUSE)
    return timedelta(seconds=min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(attempts - 1, 30)))


def is_stale(at: datetime, now: datetime) -> bool:
    """Whether a notice of that moment is not worth another attempt."""
    return now - at >= GIVEN_UP_AFTER
