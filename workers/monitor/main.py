"""The monitor: its loops, each in a thread, until SIGTERM or SIGINT."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable

import structlog
from django.conf import settings

from jobs.record import Committed
from workers.monitor.ingest import Ingest
from workers.monitor.prune import Pruner
from workers.monitor.publish import Publisher
from workers.monitor.sample import Sampler

logger = structlog.get_logger(__name__)

STOP_SECONDS = 5.0


def run() -> None:
    """Run all loops until told to stop."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    publisher = Publisher()
    publisher.start()
    ingest = Ingest(settings.REDIS_URL, committed=_teller(publisher))
    sampler = Sampler(leading=lambda: ingest.leading, lag=ingest.lag, sampled=publisher.sampled)
    pruner = Pruner(leading=lambda: ingest.leading)
    threads = [
        threading.Thread(target=loop.run, args=(stop,), name=type(loop).__name__)
        for loop in (ingest, sampler, pruner)
    ]
    for thread in threads:
        thread.start()
    logger.info("the monitor runs")
    while not stop.wait(1.0):
        if not all(thread.is_alive() for thread in threads):
            logger.error("a loop has ended; the monitor leaves, to be started again")
            stop.set()
    for thread in threads:
        thread.join(STOP_SECONDS)
    publisher.stop()


def _teller(publisher: Publisher) -> Callable[[Committed], None]:
    def tell(committed: Committed) -> None:
        publisher.changed(committed.jobs)

    return tell
