"""The loop that forgets on schedule, in small steps, so that no commit waits for it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any

from django.conf import settings
from django.db import connection
from django.db.models import QuerySet

from jobs.forgetting import Sweep, bring_into_memory, forget_jobs, forget_rows, rows_over
from jobs.retention import Retention
from jobs.store import checkpoints, partitions
from workers.monitor.lull import Lull
from workers.monitor.rounds import go_round

INTERVAL = 60.0
# SQLite has one writer at a time: a step is what a commit may have to wait for. On PostgreSQL nobody waits
# for a step, but each waits for the disk, however few its rows are.
STEP_SECONDS = {"sqlite": 0.02, "postgresql": 0.05}
FEWEST, MOST = 10, 2_000
# Of its time the loop works this share, and leaves the database to others in the rest.
SHARE = 1 / 3


class Pruner:
    """Forgets what is older than its time, a step a lull. `forgotten` is told which jobs were deleted."""

    def __init__(
        self,
        leading: Callable[[], bool],
        retention: Retention | None = None,
        forgotten: Callable[[Sequence[int]], None] = lambda _: None,
        lull: Lull | None = None,
    ) -> None:
        self._leading = leading
        self._forgotten = forgotten
        self._lull = lull or Lull()
        self._retention = retention or settings.RETENTION
        self._sweep = Sweep(self._retention)

    def run(self, stop: threading.Event) -> None:
        """Work until told to stop."""
        go_round(partial(self._round, stop), stop, INTERVAL, "pruning goes on later")

    def _round(self, stop: threading.Event) -> None:
        if self._leading():
            self.prune(datetime.now(UTC), stop)

    def prune(self, now: datetime, stop: threading.Event) -> None:
        """Forget everything whose time is over at `now`."""
        for rows in rows_over(self._retention, now):
            _forget_rows(rows, Stride(stop, self._lull))
        stride = Stride(stop, self._lull)
        for ids in self._sweep.over(now):
            if not self._forget_jobs(ids, now, stride):
                return
        partitions.tend()

    def _forget_jobs(self, ids: Sequence[int], now: datetime, stride: Stride) -> bool:
        """All of them; False if the loop is to stop."""
        first = 0
        while first < len(ids):
            chunk = ids[first : first + stride.rows]
            bring_into_memory(chunk)
            with checkpoints.apart():
                began = time.monotonic()
                self._forgotten(forget_jobs(chunk, self._retention, now))
                took = time.monotonic() - began
            first += len(chunk)
            if not stride.took(took):
                return False
        return True


class Stride:
    """How many rows a step takes, so that it lasts about as long as it may; and the rest between steps."""

    def __init__(self, stop: threading.Event, lull: Lull) -> None:
        self.rows = FEWEST
        self._stop = stop
        self._lull = lull

    def took(self, seconds: float) -> bool:
        """Learn from a step, rest until the next lull, and say whether there may be another."""
        self.rows = next_rows(self.rows, seconds, STEP_SECONDS[connection.vendor])
        if self._stop.wait(seconds * (1 / SHARE - 1)):
            return False
        self._lull.wait()
        return not self._stop.is_set()


def next_rows(rows: int, seconds: float, wished: float) -> int:
    """How many rows to take, so that a step lasts as wished, after one of `rows` took so long.

    At most twice as many, at least half.
    """
    factor = min(2.0, max(0.5, wished / max(seconds, 0.001)))
    return round(min(MOST, max(FEWEST, rows * factor)))


def _forget_rows(rows: QuerySet[Any], stride: Stride) -> None:
    more = True
    while more:
        with checkpoints.apart():
            asked, began = stride.rows, time.monotonic()
            more = forget_rows(rows, asked) == asked
            took = time.monotonic() - began
        more = stride.took(took) and more
