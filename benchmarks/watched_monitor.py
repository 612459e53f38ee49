"""The monitor as it is, with a note of each commit: its last entry, when it was done, how long it took.

usage: python -m benchmarks.watched_monitor NOTES
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "dashboard.settings")

import django

django.setup()

from jobs.record import Committed, Prepared, Record
from jobs.store.sqlite_process import SqliteProcess
from workers.monitor import main, prune

PRUNE_INTERVAL = 1.0


def watch(notes: str) -> None:
    """Run the monitor; forgetting begins at once."""
    write = Record.write
    file = open(notes, "a", buffering=1)  # noqa: SIM115 for as long as the process lives

    def noted(record: Record, prepared: Prepared, elsewhere: SqliteProcess | None = None) -> Committed:
        began, starved = time.monotonic(), starved_for()
        committed = write(record, prepared, elsewhere)
        took, starved = time.monotonic() - began, starved_for() - starved
        file.write(f"{prepared.last_id} {time.time()!r} {took!r} {starved!r}\n")
        return committed

    Record.write = noted  # type: ignore[method-assign, assignment]
    prune.INTERVAL = PRUNE_INTERVAL
    main.run()


def starved_for() -> float:
    """Seconds for which this thread was ready to run and no processor was free; 0 where nobody counts."""
    told = Path("/proc/thread-self/schedstat")
    return int(told.read_text().split()[1]) / 1e9 if told.exists() else 0.0


if __name__ == "__main__":
    watch(sys.argv[1])
