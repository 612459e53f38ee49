"""The monitor: its loops, each in a thread, until SIGTERM or SIGINT."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Protocol

import structlog
from django.conf import settings

from jobs.record import Committed
from jobs.store import checkpoints, sessions
from workers.monitor.adrift import DriftLook
from workers.monitor.alerts import Alerting
from workers.monitor.bulks import BulkRunner
from workers.monitor.checkpoint import Checkpointer
from workers.monitor.deadman import Deadman, Progress
from workers.monitor.errors import Grouping
from workers.monitor.ingest import STREAM, Ingest, reading_client
from workers.monitor.inspections import Inspector
from workers.monitor.lull import Lull
from workers.monitor.missed import MissedTicks
from workers.monitor.notify import Notifier
from workers.monitor.pace import Pace
from workers.monitor.prune import Pruner
from workers.monitor.publish import Publisher
from workers.monitor.sample import Reader, Sampler
from workers.monitor.steer import Steering
from workers.monitor.stream_look import StreamLook
from workers.monitor.sweep import Sweeper
from workers.monitor.wishes import Wishes
from workers.stopping import StopSignal

logger = structlog.get_logger(__name__)

STOP_SECONDS = 5.0
# How long a loop that computes may keep the interpreter from the others. By Python's own 5 ms a commit, which
# has thirty statements, waits thirty times for one that makes its own: 155 ms (p99) beside forgetting.
SWITCH_SECONDS = 0.0005


class Loop(Protocol):
    """What works in a thread of its own until it is told to stop."""

    def run(self, stop: threading.Event) -> None:
        """Work until told to stop."""


def run() -> None:
    """Run all loops until told to stop."""
    asked, stop = StopSignal(), threading.Event()
    sys.setswitchinterval(SWITCH_SECONDS)
    # A monitor that stands still must not hold up the next one.
    sessions.limit(lock_timeout=10, idle_in_transaction_session_timeout=30)
    checkpoints.leave_to_a_loop()
    publisher = Publisher()
    publisher.start()
    threads = [
        threading.Thread(target=loop.run, args=(stop,), name=type(loop).__name__)
        for loop in _loops(publisher)
    ]
    for thread in threads:
        thread.start()
    logger.info("the monitor runs")
    while not asked.wait(1.0):
        if not all(thread.is_alive() for thread in threads):
            logger.error("a loop has ended; the monitor leaves, to be started again")
            break
    stop.set()
    _wait_for(threads)
    publisher.stop()


def _loops(publisher: Publisher) -> list[Loop]:
    """All of them; but for ingest they work while that leads."""
    pace, lull = Pace(), Lull()
    ingest = Ingest(settings.REDIS_URL, committed=_teller(publisher, pace, lull))
    stream = StreamLook(reading_client(settings.REDIS_URL), STREAM, settings.STREAM_CAP)
    notifier = Notifier(leading=lambda: ingest.leading)
    progress = Progress(lambda: ingest.recorded_to, ingest.lag)
    return [
        ingest,
        Sampler(
            Reader(lambda: ingest.leading, ingest.lag, pace.per_second, stream), sampled=publisher.sampled
        ),
        Pruner(leading=lambda: ingest.leading, forgotten=ingest.forget, lull=lull),
        Sweeper(leading=lambda: ingest.leading),
        Wishes(leading=lambda: ingest.leading, changed=publisher.changed),
        BulkRunner(leading=lambda: ingest.leading),
        Steering(leading=lambda: ingest.leading, steered=publisher.steered),
        Inspector(leading=lambda: ingest.leading),
        DriftLook(leading=lambda: ingest.leading, changed=publisher.changed),
        Grouping(leading=lambda: ingest.leading),
        MissedTicks(leading=lambda: ingest.leading),
        Alerting(leading=lambda: ingest.leading, alerted=publisher.alerted),
        notifier,
        Deadman(lambda: ingest.leading, progress, lambda: notifier.silent_for),
        Checkpointer(),
    ]


def _wait_for(threads: Sequence[threading.Thread]) -> None:
    """One deadline for all of them."""
    until = time.monotonic() + STOP_SECONDS
    for thread in threads:
        thread.join(max(0.0, until - time.monotonic()))


def _teller(publisher: Publisher, pace: Pace, lull: Lull) -> Callable[[Committed], None]:
    def tell(committed: Committed) -> None:
        lull.begin()
        pace.count(committed.events)
        publisher.changed(committed.jobs)

    return tell
