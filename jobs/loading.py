"""From the tables into memory: the rows that the next commit starts from."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from datetime import datetime
from itertools import islice
from typing import TypeVar

from jobs import models
from jobs.lifecycle import JOB_FACTS, Attempt, Job
from jobs.rollups import COUNTS, Key, Sketches, Tally

T = TypeVar("T")
# SQLite takes at most 999 values a statement in its older builds.
CHUNK = 500


def jobs_by_task_id(cluster_id: int, task_ids: Collection[str]) -> dict[str, Job]:
    """The recorded ones among these jobs, with their attempts (less their tracebacks)."""
    jobs: dict[int, Job] = {}
    for chunk in chunks(task_ids):
        for row in models.Job.objects.filter(cluster_id=cluster_id, task_id__in=chunk):
            jobs[row.id] = _job(row)
    for ids in chunks(jobs):
        for attempt in models.Attempt.objects.filter(job_id__in=ids).defer("traceback"):
            jobs[attempt.job_id].attempts[(attempt.retries, attempt.delivery)] = _attempt(attempt)
    return {job.task_id: job for job in jobs.values()}


def _job(row: models.Job) -> Job:
    return Job(
        task_id=row.task_id,
        id=row.id,
        published_at=seconds(row.published_at),
        # While a retry waits for its receipt it alone decides; later an attempt has as many retries.
        published_retries=row.retries,
        eta=seconds(row.eta),
        seen_at=row.seen_at.timestamp(),
        **{name: getattr(row, name) for name in JOB_FACTS if name != "expires_at"},
        expires_at=seconds(row.expires_at),
    )


def _attempt(row: models.Attempt) -> Attempt:
    return Attempt(
        retries=row.retries,
        delivery=row.delivery,
        rank=row.rank,
        state=row.state,
        worker=row.worker,
        published_at=seconds(row.published_at),
        eta=seconds(row.eta),
        received_at=seconds(row.received_at),
        started_at=seconds(row.started_at),
        ended_at=seconds(row.ended_at),
        run=row.run,
        exception=row.exception,
    )


def buckets(cluster_id: int, tier: int, starts: Collection[int]) -> dict[Key, Tally]:
    """All buckets of these minutes (or hours)."""
    found: dict[Key, Tally] = {}
    for chunk in chunks(starts):
        for row in models.Bucket.objects.filter(cluster_id=cluster_id, tier=tier, start__in=chunk):
            counts = {name: getattr(row, name) for name in COUNTS}
            found[Key(row.start, row.task, row.queue)] = Tally(counts, Sketches.loads(row.sketches))
    return found


def seconds(moment: datetime | None) -> float | None:
    """Seconds since the epoch."""
    return None if moment is None else moment.timestamp()


def chunks(items: Iterable[T]) -> Iterator[list[T]]:
    """The items in lists of at most CHUNK."""
    iterator = iter(items)
    while chunk := list(islice(iterator, CHUNK)):
        yield chunk
