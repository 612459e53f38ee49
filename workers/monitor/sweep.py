"""The loop that publishes what waits in the outbox and is due."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime

import structlog
from django.db import DatabaseError, close_old_connections

from jobs import outbox
from workers.brokers import BrokerUnreachable
from workers.outbox import MOST, Publisher, tell_waiting

logger = structlog.get_logger(__name__)

INTERVAL = 0.25
PAUSE_FIRST, PAUSE_LONGEST = 0.5, 5.0


class Sweeper:
    """Publishes every INTERVAL seconds; while the broker is away, ever more rarely."""

    def __init__(self, leading: Callable[[], bool]) -> None:
        self._leading = leading
        self._publisher = Publisher()
        self._pause = INTERVAL

    def run(self, stop: threading.Event) -> None:
        """Work until told to stop."""
        while not stop.wait(self._pause):
            try:
                self._sweep(stop)
            except Exception as fault:  # noqa: BLE001 the top of a long-running loop
                self._back_off(fault)
            finally:
                close_old_connections()
        self._publisher.close()

    def _sweep(self, stop: threading.Event) -> None:
        if self._leading():
            if untold := outbox.untold(datetime.now(UTC), MOST):
                tell_waiting(untold)
            while self._publisher.publish_due() == MOST and not stop.is_set():
                pass
        self._pause = INTERVAL

    def _back_off(self, fault: Exception) -> None:
        self._pause = min(max(self._pause * 2, PAUSE_FIRST), PAUSE_LONGEST)
        expected = isinstance(fault, DatabaseError | BrokerUnreachable)
        logger.warning("the outbox waits; again in %.1f s: %s", self._pause, fault, exc_info=not expected)
