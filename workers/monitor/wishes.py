"""The loop that makes what people asked of jobs come true, and says when it has."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection

import structlog
from django.conf import settings
from django.db import DatabaseError, close_old_connections
from redis import RedisError

from workers.app import app
from workers.brokers import BrokerUnreachable
from workers.control import Control
from workers.followups import Follower
from workers.revocations import Revoker

logger = structlog.get_logger(__name__)

INTERVAL = 0.5
PAUSE_LONGEST = 5.0


class Wishes:
    """Works every INTERVAL seconds while this monitor leads; more rarely while the broker is away."""

    def __init__(self, leading: Callable[[], bool], changed: Callable[[Collection[int]], None]) -> None:
        self._leading = leading
        control = Control(app, settings.CELERY_BROKER_URL)
        self._revoker = Revoker(settings.REDIS_URL, control, changed)
        self._follower = Follower(changed)

    def run(self, stop: threading.Event) -> None:
        """Work until told to stop."""
        pause = INTERVAL
        while not stop.wait(pause):
            try:
                if self._leading():
                    self._follower.turn()
                    self._revoker.turn()
                pause = INTERVAL
            except Exception as fault:
                pause = min(pause * 2, PAUSE_LONGEST)
                expected = isinstance(fault, BrokerUnreachable | RedisError | DatabaseError)
                logger.warning("wishes wait; again in %.1f s: %s", pause, fault, exc_info=not expected)
            finally:
                close_old_connections()
        self._revoker.close()
