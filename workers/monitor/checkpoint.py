"""The loop that brings SQLite's write-ahead log into its file, so that no commit has to wait for the disk."""

from __future__ import annotations

import threading

from jobs.store import checkpoints
from workers.monitor.rounds import go_round

INTERVAL = 1.0


class Checkpointer:
    """Works every INTERVAL seconds, whether this monitor leads or not: others write as well."""

    def run(self, stop: threading.Event) -> None:
        """Work until told to stop."""
        go_round(checkpoints.bring_in, stop, INTERVAL, "the log is brought in later")
