"""Known ways to set the shop on fire, to see how that looks: each ends by itself, and puts right what it did.

Tasks that are to fail or to be slow learn it from a file in the shop's folder, which tells when it ends: one
whose command was killed burns no longer than it was meant to.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from django.conf import settings
from django_celery_beat.models import IntervalSchedule, PeriodicTask

from jobs.models import Worker
from workers.app import app
from workers.control import Control
from workers.demo import tasks
from workers.demo.fires import light, put_out

JOBS_A_SECOND = 8
MOST_JOBS = 5_000
DEADLY_JOBS = 3
SCHEDULE = "demo: on fire"
# Of how many seconds a worker may take to start, and to leave.
PATIENCE = 60.0


class CantBurn(RuntimeError):
    """What was to burn isn't there; the text says what."""


@contextmanager
def failures(seconds: float) -> Iterator[str]:
    """Every third valuation fails."""
    with _alight("failures", seconds):
        yield "every third process_valuation fails"


@contextmanager
def slow(seconds: float) -> Iterator[str]:
    """Suppliers take two seconds longer."""
    with _alight("slow", seconds):
        yield "each sync_product takes two seconds longer"


@contextmanager
def backlog(seconds: float) -> Iterator[str]:
    """More work than the slots of the least urgent queue can do; what is left at the end expires."""
    queue, count = least_urgent(), min(MOST_JOBS, int(seconds * JOBS_A_SECOND))
    for number in range(count):
        tasks.count_stock.apply_async((number,), queue=queue, expires=seconds)
    yield f"{count:,} jobs of half a second each wait in queue {queue}; what is left at the end expires"


@contextmanager
def no_consumer(seconds: float) -> Iterator[str]:
    """Nobody reads the least urgent queue; those that did read it again at the end."""
    queue, control = least_urgent(), Control(app, settings.CELERY_BROKER_URL)
    readers = [name for name, queues in control.active_queues().items() if queue in queues]
    if not readers:
        raise CantBurn(f"no worker that answers reads queue {queue}")
    control.tell("cancel_consumer", {"queue": queue}, readers)
    try:
        for number in range(min(MOST_JOBS, int(seconds))):
            tasks.count_stock.apply_async((number,), queue=queue, expires=seconds)
        yield f"no worker reads queue {queue} any more: {', '.join(sorted(readers))} did"
    finally:
        control.tell("add_consumer", {"queue": queue}, readers)
        control.close()


@contextmanager
def dead_worker(seconds: float) -> Iterator[str]:
    """A worker of its own starts and is killed; at the end its name comes back and says goodbye."""
    name = f"on-fire-{os.getpid()}@shop"
    process = _start_worker(name)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    try:
        yield f"worker {name} was killed"
    finally:
        process = _start_worker(name)
        process.terminate()
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise CantBurn(f"worker {name} did not leave, and was killed") from None


@contextmanager
def broken_schedule(seconds: float) -> Iterator[str]:
    """A schedule is due every ten seconds, and can't be sent; it expires with the fire."""
    often = IntervalSchedule.objects.filter(every=10, period=IntervalSchedule.SECONDS).first()
    often = often or IntervalSchedule.objects.create(every=10, period=IntervalSchedule.SECONDS)
    PeriodicTask.objects.filter(name=SCHEDULE).delete()
    PeriodicTask.objects.create(
        name=SCHEDULE,
        task=f"{tasks.__name__}.cleanup_expired",
        interval=often,
        args="[no JSON",
        expires=datetime.now(UTC) + timedelta(seconds=seconds),
    )
    try:
        yield f"schedule “{SCHEDULE}” is due every 10 seconds, and can't be sent: its arguments are no JSON"
    finally:
        for schedule in PeriodicTask.objects.filter(name=SCHEDULE):
            schedule.delete()


@contextmanager
def poison(seconds: float) -> Iterator[str]:
    """Jobs that kill the process that runs them, until they are given up as dead letters."""
    for _ in range(DEADLY_JOBS):
        tasks.crash.apply_async(queue=least_urgent(), expires=seconds)
    yield f"{DEADLY_JOBS} jobs kill each process that runs them, until they are given up"


BURNS: Mapping[str, Callable[[float], AbstractContextManager[str]]] = {
    "failures": failures,
    "slow": slow,
    "backlog": backlog,
    "no-consumer": no_consumer,
    "dead-worker": dead_worker,
    "broken-schedule": broken_schedule,
    "poison": poison,
}


def least_urgent() -> str:
    """The declared queue that has the longest time: a fire there hurts the shop least."""
    return str(max(settings.QUEUES.items(), key=lambda item: item[1].target)[0])


@contextmanager
def _alight(what: str, seconds: float) -> Iterator[None]:
    light(what, time.time() + seconds)
    try:
        yield
    finally:
        put_out(what)


def _start_worker(name: str) -> subprocess.Popen[bytes]:
    """A worker with a slot, as a group of its own, once the record has heard of it. Raises CantBurn."""
    before = time.time()
    argv = [sys.executable, "-m", "celery", "-A", "workers", "worker", "-n", name, "-c", "1"]
    process = subprocess.Popen(
        [*argv, "-Q", least_urgent(), "--loglevel", "ERROR"],
        cwd=Path(settings.BASE_DIR),
        start_new_session=True,
        stdin=subprocess.DEVNULL,
    )
    while time.time() < before + PATIENCE:
        if Worker.objects.filter(name=name, pid=process.pid, offline_at=None).exists():
            return process
        if process.poll() is not None:
            raise CantBurn(f"worker {name} ended at its start")
        time.sleep(0.2)
    os.killpg(process.pid, signal.SIGKILL)
    raise CantBurn(f"the record did not hear of worker {name}: does the monitor run?")
