"""Messages that were put aside come back: each worker looks for those whose time has come."""

from __future__ import annotations

from typing import Any

import redis
from celery import bootsteps
from celery.utils.log import get_logger

from workers.limits import aside

logger = get_logger(__name__)

INTERVAL = 0.5


class Sweep(bootsteps.StartStopStep):
    """A timer of the worker's main process."""

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def __init__(self, consumer: Any, **_: Any) -> None:
        super().__init__(consumer)
        self._timer: Any = None
        self._well = True

    def start(self, consumer: Any) -> None:
        self._timer = consumer.timer.call_repeatedly(INTERVAL, self.sweep)

    def stop(self, consumer: Any) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def sweep(self) -> None:
        """Said once, while Redis is away."""
        try:
            aside().sweep()
            self._well = True
        except redis.RedisError as fault:
            if self._well:
                logger.warning("messages put aside can't be given back: %s", fault)
            self._well = False
