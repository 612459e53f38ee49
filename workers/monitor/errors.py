"""The loop that groups failures into errors: behind ingest, so that no fingerprint can hold up the record."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial

from django.db import DatabaseError, OperationalError

from jobs.batch import REFUSALS
from jobs.errors.grouping import AT_ONCE, group, leave_out, wake
from jobs.models import Cluster
from workers.monitor.rounds import go_round

INTERVAL = 0.5
# Between two steps, so that those who wait for their turn to write have it.
REST = 0.02
# Of the time that a step took: the record and people come first.
REST_SHARE = 2.0
logger = logging.getLogger(__name__)


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
            began = time.monotonic()
            while _step() == AT_ONCE and not stop.wait(max(REST, REST_SHARE * (time.monotonic() - began))):
                began = time.monotonic()


def _step() -> int:
    """Group what comes next; where something in it is refused, one by one. How many there were."""
    try:
        return group(Cluster.DEFAULT_ID)
    except OperationalError:
        raise
    except (DatabaseError, *REFUSALS) as fault:
        logger.warning("failures are grouped one by one: %s was refused", type(fault).__name__)
        return _with_care()


def _with_care() -> int:
    for _ in range(AT_ONCE):
        try:
            group(Cluster.DEFAULT_ID, 1)
        except OperationalError:
            raise
        except (DatabaseError, *REFUSALS):
            logger.exception("a failure can't be grouped, and is left out")
            leave_out(Cluster.DEFAULT_ID)
    return AT_ONCE
