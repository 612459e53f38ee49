"""The loop that publishes what waits in the outbox and is due."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial

from jobs import outbox
from workers.monitor.rounds import go_round
from workers.outbox import MOST, Publisher, tell_waiting

INTERVAL = 0.25


class Sweeper:
    """Publishes every INTERVAL seconds; while the broker is away, ever more rarely."""

    def __init__(self, leading: Callable[[], bool]) -> None:
        self._leading = leading
        self._publisher = Publisher()

    def run(self, stop: threading.Event) -> None:
        """Work until told to stop."""
        go_round(partial(self._sweep, stop), stop, INTERVAL, "the outbox waits")
        self._publisher.close()

    def _sweep(self, stop: threading.Event) -> None:
        if self._leading():
            if untold := outbox.untold(datetime.now(UTC), MOST):
                tell_waiting(untold)
            while self._publisher.publish_due() == MOST and not stop.is_set():
                pass
