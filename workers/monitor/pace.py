"""How many events a second the record takes in."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

OVER_SECONDS = 60.0


class Pace:
    """Events a second over the last minute. One thread counts, another asks now and then."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._total = 0
        self._asked: deque[tuple[float, int]] = deque([(clock(), 0)])

    def count(self, events: int) -> None:
        """So many events were recorded."""
        self._total += events

    def per_second(self) -> float | None:
        """Over the last minute, or as long as it was asked; None the very first time."""
        now, total = self._clock(), self._total
        while len(self._asked) > 1 and self._asked[1][0] <= now - OVER_SECONDS:
            self._asked.popleft()
        began, before = self._asked[0]
        self._asked.append((now, total))
        return (total - before) / (now - began) if now > began else None
