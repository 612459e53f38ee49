"""The monitor as it is, with a note of each commit: its last entry, when it was done, how long it took.

usage: python -m benchmarks.watched_monitor NOTES
"""

from __future__ import annotations

import os
import sys
import time

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "dashboard.settings")

import django

django.setup()

from jobs.record import Committed, Prepared, Record
from workers.monitor import main, prune

PRUNE_INTERVAL = 1.0


def watch(notes: str) -> None:
    """Run the monitor; forgetting begins at once."""
    write = Record.write
    file = open(notes, "a", buffering=1)  # noqa: SIM115 for as long as the process lives

    def noted(record: Record, prepared: Prepared) -> Committed:
        began = time.monotonic()
        committed = write(record, prepared)
        file.write(f"{prepared.last_id} {time.time()!r} {time.monotonic() - began!r}\n")
        return committed

    Record.write = noted  # type: ignore[method-assign, assignment]
    prune.INTERVAL = PRUNE_INTERVAL
    main.run()


if __name__ == "__main__":
    watch(sys.argv[1])
