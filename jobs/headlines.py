"""The headline figures, as the README's glossary defines them: pure functions of counts.

Minutes and hours are counted since the epoch. What is not known is None.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

MINUTE = 60
HOUR = 3600
RATE_MINUTES = 5
RECENT_MINUTES = 15
TREND_HOURS = 24


@dataclass(frozen=True, slots=True)
class Flow:
    """What happened in a span: jobs counted once, at their publish, start and end."""

    published: int = 0
    started: int = 0
    retried: int = 0
    succeeded: int = 0
    failed: int = 0
    stopped: int = 0

    @property
    def ended(self) -> int:
        """Jobs that came to their end: succeeded, failed, revoked or rejected."""
        return self.succeeded + self.failed + self.stopped

    def __add__(self, other: Flow) -> Flow:
        return Flow(
            self.published + other.published,
            self.started + other.started,
            self.retried + other.retried,
            self.succeeded + other.succeeded,
            self.failed + other.failed,
            self.stopped + other.stopped,
        )

    def __sub__(self, other: Flow) -> Flow:
        return Flow(
            self.published - other.published,
            self.started - other.started,
            self.retried - other.retried,
            self.succeeded - other.succeeded,
            self.failed - other.failed,
            self.stopped - other.stopped,
        )


NOTHING = Flow()


def total(flows: Iterable[Flow]) -> Flow:
    """All of them in one."""
    return sum(flows, NOTHING)


def covered_seconds(now: float, first_minute: int | None, minutes: int = RATE_MINUTES) -> float:
    """Seconds covered by the last whole `minutes` and the running one, not before the record began."""
    running = int(now // MINUTE)
    begin = max(running - minutes, first_minute if first_minute is not None else running - minutes)
    return now - begin * MINUTE


def rate_now(minutes: Mapping[int, Flow], now: float, first_minute: int | None) -> float | None:
    """Jobs an hour: those that ended in the last five whole minutes and the running one, scaled."""
    if first_minute is None:
        return None
    running = int(now // MINUTE)
    ended = sum(minutes.get(minute, NOTHING).ended for minute in range(running - RATE_MINUTES, running + 1))
    return ended * HOUR / max(1.0, covered_seconds(now, first_minute))


def peak(hours: Mapping[int, Flow], now: float, first_hour: int | None) -> tuple[int, int] | None:
    """The best clock hour of the last 24 as (jobs ended, epoch second of its start).

    The running hour competes with whole ones: while none is recorded there is no peak.
    """
    running = int(now // HOUR)
    if first_hour is None or first_hour >= running:
        return None
    counts = [(flow.ended, hour) for hour, flow in hours.items() if running - TREND_HOURS < hour <= running]
    best = max(counts, default=None)
    return (best[0], best[1] * HOUR) if best and best[0] else None


def share(flow: Flow) -> float | None:
    """Succeeded out of succeeded and failed; None if there was neither."""
    judged = flow.succeeded + flow.failed
    return flow.succeeded / judged if judged else None


def failing(flow: Flow) -> float | None:
    """Failed out of the same."""
    succeeded = share(flow)
    return None if succeeded is None else 1 - succeeded


def last_day(hours: Mapping[int, Flow], before: Flow, now: float) -> Flow:
    """The last 24 hours to the minute: whole hours, less what lay `before` in the first of them."""
    running = int(now // HOUR)
    return total(flow for hour, flow in hours.items() if running - TREND_HOURS <= hour <= running) - before


def recent(minutes: Mapping[int, Flow], now: float) -> Flow:
    """The last 15 whole minutes and the running one."""
    running = int(now // MINUTE)
    return total(minutes.get(minute, NOTHING) for minute in range(running - RECENT_MINUTES, running + 1))


def hourly_ends(hours: Mapping[int, Flow], now: float, first_hour: int | None) -> list[int | None]:
    """Jobs ended in each of the last 24 clock hours, oldest first; None before the record began."""
    return [
        hours.get(hour, NOTHING).ended if first_hour is not None and hour >= first_hour else None
        for hour in _last_hours(now)
    ]


def hourly_shares(hours: Mapping[int, Flow], now: float) -> list[float | None]:
    """The success rate of each of the last 24 clock hours, oldest first."""
    return [share(hours.get(hour, NOTHING)) for hour in _last_hours(now)]


def _last_hours(now: float) -> range:
    running = int(now // HOUR)
    return range(running - TREND_HOURS + 1, running + 1)
