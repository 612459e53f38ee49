"""From the tables into memory: the rows that the next commit starts from."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from datetime import datetime
from itertools import islice
from typing import Any, TypeVar

from django.db.models import QuerySet

from jobs import models, store
from jobs.lifecycle import JOB_FACTS, Attempt, Job, decide
from jobs.metrics import counting
from jobs.rollups import COUNTS, Key, Sketches, Tally
from jobs.store.tables import TIMES

T = TypeVar("T")
# SQLite takes at most 999 values a statement in its older builds.
CHUNK = 500
LONG_TEXTS = frozenset({"traceback", "result"})


_JOB_COLUMNS = ("id", "task_id", "retries", "published_retries", "published_at", "eta", "seen_at", *JOB_FACTS)
_ATTEMPT_COLUMNS = ("job_id", *(name for name in Attempt.__struct_fields__ if name not in LONG_TEXTS))


def jobs_by_task_id(cluster_id: int, task_ids: Collection[str]) -> dict[str, Job]:
    """The recorded ones among these jobs, with their attempts (less their long texts)."""
    jobs: dict[int, Job] = {}
    for chunk in chunks(task_ids):
        for row in store.read("job", _JOB_COLUMNS, "task_id", chunk, cluster_id):
            told = _told(_JOB_COLUMNS, row)
            retries, published = told.pop("retries"), told.pop("published_retries")
            # Rows of earlier releases don't tell; there the attempt that decides is the best guess.
            jobs[told["id"]] = Job(published_retries=retries if published is None else published, **told)
    for ids in chunks(jobs):
        for row in store.read("attempt", _ATTEMPT_COLUMNS, "job_id", ids):
            told = _told(_ATTEMPT_COLUMNS, row)
            attempts = jobs[told.pop("job_id")].attempts
            attempts[(told["retries"], told["delivery"])] = Attempt(**told)
    for job in jobs.values():
        decide(job)
    return {job.task_id: job for job in jobs.values()}


def _told(columns: tuple[str, ...], row: tuple[Any, ...]) -> dict[str, Any]:
    """A row by names, its times in seconds."""
    return {
        name: value / 1_000_000 if value is not None and name in TIMES else value
        for name, value in zip(columns, row, strict=True)
    }


def buckets(cluster_id: int, tier: int, starts: Collection[int]) -> dict[Key, Tally]:
    """All buckets of these minutes (or hours, or days)."""
    of_tier = models.Bucket.objects.filter(cluster_id=cluster_id, tier=tier)
    return _tallies(of_tier.filter(start__in=chunk) for chunk in chunks(starts))


def buckets_among(cluster_id: int, tier: int, keys: Collection[Key]) -> dict[Key, Tally]:
    """The recorded ones among these, and others of their tasks: with 10,000 tasks a minute is too much."""
    of_tier = models.Bucket.objects.filter(cluster_id=cluster_id, tier=tier)
    return _tallies(
        of_tier.filter(start__in=starts, task__in=tasks)
        for starts in chunks({key.minute for key in keys})
        for tasks in chunks({key.task for key in keys})
    )


def _tallies(queries: Iterable[QuerySet[models.Bucket]]) -> dict[Key, Tally]:
    found: dict[Key, Tally] = {}
    for query in queries:
        for row in query:
            counts = {name: getattr(row, name) for name in COUNTS}
            found[Key(row.start, row.task, row.queue)] = Tally(counts, Sketches.loads(row.sketches))
    return found


def series(cluster_id: int) -> dict[counting.Key, counting.Tally]:
    """All that was counted for Prometheus."""
    rows = models.Series.objects.filter(cluster_id=cluster_id).values_list(
        "axis", "task", "place", "born_at", "moved_at", "measures", *counting.KINDS
    )
    return {
        counting.Key(axis, task, place): _series(born.timestamp(), moved.timestamp(), counts, measures)
        for axis, task, place, born, moved, measures, *counts in rows
    }


def _series(born: float, moved: float, counts: list[int], measures: str) -> counting.Tally:
    return counting.Tally(born, moved, counts).load(measures)


def seconds(moment: datetime | None) -> float | None:
    """Seconds since the epoch."""
    return None if moment is None else moment.timestamp()


def chunks(items: Iterable[T]) -> Iterator[list[T]]:
    """The items in lists of at most CHUNK."""
    iterator = iter(items)
    while chunk := list(islice(iterator, CHUNK)):
        yield chunk
