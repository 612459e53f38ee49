"""The loop that looks at the rules of alerts: in the monitor, so that no worker is needed to hear of none."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime

from jobs.alerts.facts.look import Memory
from jobs.alerts.rounds import look
from jobs.models import Cluster
from workers.monitor.rounds import go_round
from workers.monitor.sample import beat

INTERVAL = 5.0
HEARTBEAT = "alerts"


class Alerting:
    """Looks every INTERVAL seconds while `leading`; `alerted` is called after a change and must not block."""

    def __init__(self, leading: Callable[[], bool], alerted: Callable[[], None]) -> None:
        self._leading = leading
        self._alerted = alerted
        self._memory = Memory()

    def run(self, stop: threading.Event) -> None:
        """Work until told to stop."""
        go_round(self._round, stop, INTERVAL, "alerts wait")

    def _round(self) -> None:
        if self._leading():
            self.look(datetime.now(UTC))

    def look(self, now: datetime) -> None:
        """Look at all rules, and say that this was done: the dead-man ping asks for it."""
        if look(Cluster.DEFAULT_ID, now, self._memory):
            self._alerted()
        beat(HEARTBEAT, now, {})
