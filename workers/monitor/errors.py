"""The loop that groups failures into errors: behind ingest, so that no fingerprint can hold up the record."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial

from jobs.errors.grouping import AT_ONCE, group, wake
from jobs.models import Cluster
from workers.monitor.rounds import go_round

INTERVAL = 0.5
# Between two steps, so that those who wait for their turn to write have it.
REST = 0.02


class Grouping:
    """Groups, every INTERVAL seconds while `leading`, what ingest has marked."""

    def __init__(self, leading: Callable[[], bool]) -> None:
        self._leading = leading

    def run(self, stop: threading.Event) -> None:
        """Work until told to stop."""
        go_round(partial(self._round, stop), stop, INTERVAL, "errors wait")

    def _round(self, stop: threading.Event) -> None:
        if self._leading():
            wake(Cluster.DEFAULT_ID, datetime.now(UTC))
            while group(Cluster.DEFAULT_ID) == AT_ONCE and not stop.wait(REST):
                pass
