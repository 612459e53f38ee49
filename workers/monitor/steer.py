"""The loop that makes wishes about workers and queues true: orders, and pauses."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime

import structlog
from django.conf import settings

from workers.app import app
from workers.brokers import BrokerUnreachable
from workers.control import Control
from workers.monitor.orders import carry_out
from workers.monitor.pauses import Pauses
from workers.monitor.rounds import go_round

logger = structlog.get_logger(__name__)

INTERVAL = 0.5


class Steering:
    """Works while `leading`; `steered` is called after each change and must not block."""

    def __init__(self, leading: Callable[[], bool], steered: Callable[[], None]) -> None:
        self._leading = leading
        self._steered = steered
        self._control = Control(app, settings.CELERY_BROKER_URL)
        self._pauses = Pauses(settings.REDIS_URL)
        self._well = True

    def run(self, stop: threading.Event) -> None:
        """Work until told to stop."""
        go_round(self._round, stop, INTERVAL, "orders and pauses wait")
        self._control.close()

    def _round(self) -> None:
        if self._leading():
            self.steer(datetime.now(UTC))

    def steer(self, now: datetime) -> None:
        """Orders first: somebody waits for them."""
        for step in (carry_out, self._pauses.keep):
            try:
                if step(self._control, now):
                    self._steered()
                self._well = True
            except BrokerUnreachable as fault:
                if self._well:
                    logger.warning("orders and pauses wait for the broker: %s", fault)
                self._well = False
