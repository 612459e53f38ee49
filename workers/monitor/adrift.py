"""The loop that looks for jobs that will not go on by themselves, and writes down which; docs/adrift.md."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from datetime import UTC, datetime

from jobs.adrift.reading import Looked, look
from jobs.adrift.rules import Next, What
from jobs.adrift.telling import NAME, told
from jobs.models import Cluster
from workers.monitor.rounds import go_round
from workers.monitor.sample import beat

INTERVAL = 15.0


class DriftLook:
    """Looks every INTERVAL seconds while `leading`; what two looks in a row have seen is told.

    `changed` hears of the jobs of which something else is told than before, and must not block.
    """

    def __init__(self, leading: Callable[[], bool], changed: Callable[[Collection[int]], None]) -> None:
        self._leading = leading
        self._changed = changed
        self._before: Looked | None = None
        self._told: set[tuple[int, What, Next]] = set()

    def run(self, stop: threading.Event) -> None:
        """Work until told to stop."""
        go_round(self.turn, stop, INTERVAL, "jobs adrift are not looked for")

    def turn(self) -> None:
        """One look. After a time in which nothing could be known, the first one tells nothing."""
        if not self._leading():
            self._before = None
            return
        now = datetime.now(UTC)
        before, self._before = self._before, look(Cluster.DEFAULT_ID, now)
        if before is not None and self._before is not None:
            self._tell(seen_twice(before, self._before), now)

    def _tell(self, looked: Looked, now: datetime) -> None:
        beat(NAME, now, told(looked))
        adrift = {(job.id, finding.what, finding.next) for job, finding in looked.found}
        moved, self._told = {job for job, *_ in adrift ^ self._told}, adrift
        if moved:
            self._changed(moved)


def seen_twice(before: Looked, after: Looked) -> Looked:
    """What both have seen, as the later one tells it. Pure."""
    known = {(job.id, finding.what, finding.since) for job, finding in before.found}
    kept = [pair for pair in after.found if (pair[0].id, pair[1].what, pair[1].since) in known]
    return Looked(kept, after.more)
