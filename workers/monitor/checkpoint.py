"""The loop that brings SQLite's write-ahead log into its file, so that no commit has to wait for the disk."""

from __future__ import annotations

import threading

import structlog
from django.db import DatabaseError, close_old_connections

from jobs.store import checkpoints

logger = structlog.get_logger(__name__)

INTERVAL = 1.0


class Checkpointer:
    """Works every INTERVAL seconds, whether this monitor leads or not: others write as well."""

    def run(self, stop: threading.Event) -> None:
        """Work until told to stop."""
        while not stop.wait(INTERVAL):
            try:
                checkpoints.bring_in()
            except DatabaseError as fault:
                logger.warning("the log is brought in later: %s", fault)
            finally:
                close_old_connections()
