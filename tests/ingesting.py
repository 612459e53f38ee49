"""A monitor's ingest loop within the test's own process."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection

from workers.monitor.ingest import Ingest


@contextmanager
def at_work(ingest: Ingest) -> Iterator[None]:
    """The loop at work, in a thread of its own."""
    stop = threading.Event()

    def run() -> None:
        try:
            ingest.run(stop)
        finally:
            connection.close()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(20)
