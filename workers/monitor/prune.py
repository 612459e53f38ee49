"""The loop that forgets on schedule, in small steps, so that no commit waits for it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from django.db import DatabaseError, close_old_connections
from django.db.models import QuerySet

from jobs.models import (
    Attempt,
    Bucket,
    Gap,
    Job,
    Payload,
    Producer,
    QueueSample,
    Standing,
    Worker,
    WorkerSample,
)

logger = structlog.get_logger(__name__)

INTERVAL = 60.0
STEP = 500
PAUSE = 0.05
SUCCEEDED_FOR = timedelta(days=7)
ENDED_FOR = timedelta(days=30)
SAMPLES_FOR = timedelta(days=2)
MINUTES_FOR = timedelta(days=7)
HOURS_FOR = timedelta(days=400)
PROCESSES_FOR = timedelta(days=30)
# A process that published nothing for so long may still live: forgotten, its next number looks like a loss.
PRODUCERS_FOR = timedelta(days=400)


class Pruner:
    """Forgets what is older than its time, a step of STEP rows at a time."""

    def __init__(self, leading: Callable[[], bool]) -> None:
        self._leading = leading

    def run(self, stop: threading.Event) -> None:
        """Work until told to stop."""
        while not stop.wait(INTERVAL):
            try:
                if self._leading():
                    prune(datetime.now(UTC), stop)
            except Exception as fault:
                logger.warning(
                    "pruning goes on later: %s", fault, exc_info=not isinstance(fault, DatabaseError)
                )
            finally:
                close_old_connections()


def prune(now: datetime, stop: threading.Event) -> None:
    """Forget everything whose time is over at `now`."""
    minute = int((now - MINUTES_FOR).timestamp() // Bucket.MINUTE)
    hour = int((now - HOURS_FOR).timestamp() // Bucket.HOUR)
    for old in (
        QueueSample.objects.filter(at__lt=now - SAMPLES_FOR),
        WorkerSample.objects.filter(at__lt=now - SAMPLES_FOR),
        Bucket.objects.filter(tier=Bucket.MINUTE, start__lt=minute),
        Bucket.objects.filter(tier=Bucket.HOUR, start__lt=hour),
        Worker.objects.filter(seen_at__lt=now - PROCESSES_FOR),
        Producer.objects.filter(seen_at__lt=now - PRODUCERS_FOR),
        Gap.objects.filter(ended_at__lt=now - PROCESSES_FOR),
    ):
        _delete_in_steps(old, stop)
    _prune_jobs(now, stop)


def _delete_in_steps(old: QuerySet[Any], stop: threading.Event) -> None:
    while not stop.is_set():
        ids = list(old.values_list("pk", flat=True)[:STEP])
        if ids:
            old.model._base_manager.filter(pk__in=ids).delete()
        if len(ids) < STEP or stop.wait(PAUSE):
            return


def _prune_jobs(now: datetime, stop: threading.Event) -> None:
    """Walk the jobs from the oldest id on, and stop at the first that is too young for any rule."""
    after = 0
    while not stop.wait(PAUSE):
        rows = list(
            Job.objects.filter(id__gt=after)
            .order_by("id")
            .values_list("id", "state", "ended_at", "seen_at")[:STEP]
        )
        _forget_jobs([id for id, state, ended_at, _ in rows if _is_over(state, ended_at, now)])
        if len(rows) < STEP or rows[-1][3] > now - SUCCEEDED_FOR:
            return
        after = rows[-1][0]


def _is_over(state: str, ended_at: datetime | None, now: datetime) -> bool:
    kept_for = SUCCEEDED_FOR if state == "succeeded" else ENDED_FOR
    return ended_at is not None and ended_at < now - kept_for


def _forget_jobs(ids: list[int]) -> None:
    if ids:
        for model in (Standing, Payload, Attempt):
            model._base_manager.filter(job_id__in=ids).delete()
        Job.objects.filter(id__in=ids)._raw_delete("default")
