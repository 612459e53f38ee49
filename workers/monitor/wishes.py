"""The loop that makes what people asked of jobs come true, and says when it has."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection

from django.conf import settings

from workers.app import app
from workers.control import Control
from workers.followups import Follower
from workers.monitor.rounds import go_round
from workers.revocations import Revoker

INTERVAL = 0.5


class Wishes:
    """Works every INTERVAL seconds while this monitor leads; more rarely while the broker is away."""

    def __init__(self, leading: Callable[[], bool], changed: Callable[[Collection[int]], None]) -> None:
        self._leading = leading
        control = Control(app, settings.CELERY_BROKER_URL)
        self._revoker = Revoker(settings.REDIS_URL, control, changed)
        self._follower = Follower(changed)

    def run(self, stop: threading.Event) -> None:
        """Work until told to stop."""
        go_round(self._round, stop, INTERVAL, "wishes wait")
        self._revoker.close()

    def _round(self) -> None:
        if self._leading():
            self._follower.turn()
            self._revoker.turn()
