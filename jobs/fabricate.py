"""A record of any size: two hours are recorded as any others, and the rest are copies of them."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from itertools import islice

from django.db import connection, transaction

from jobs import loading, store
from jobs.batch import StreamEntry
from jobs.fabricated import QUEUES, Stream, events
from jobs.models import (
    Attempt,
    Bucket,
    Cluster,
    Gap,
    Job,
    Payload,
    Position,
    Producer,
    Quarantine,
    QueueSample,
    Series,
    Standing,
    Total,
    Worker,
    WorkerSample,
)
from jobs.record import Record
from jobs.rollups import Key, Tally
from jobs.rows import bucket_row
from jobs.store.copies import Span, copy_span, in_bulk

HOUR = Bucket.HOUR
HOURS_A_DAY = 24
BUSY_HOURS = range(8, 20)
SOURCE = "fabricated"
BATCH_ENTRIES = 500
SAMPLED_FOR = timedelta(days=2)
SAMPLE_SECONDS = 5
LATELY = 2 * HOUR
ROWS_AT_ONCE = 10_000

# In the order in which they may be deleted.
RECORDED = (
    Standing, Payload, Attempt, Job, Bucket,
    Position, Producer, Gap, Quarantine, Worker, QueueSample, WorkerSample, Series, Total,
)  # fmt: skip

Say = Callable[[str], None]


def fabricate(jobs: int, days: int, seed: int, now: datetime, say: Say = lambda _: None) -> None:
    """Fill an empty record with `jobs` jobs of the `days` days before `now`; some of the last are open.

    Twice as many come by day as by night. Buckets equal a recount.
    """
    with in_bulk():
        _Fabrication(jobs, days, random.Random(seed), now.timestamp(), say).write()  # noqa: S311 no secret
        _write_days()
        _write_samples(now, min(timedelta(days=days), SAMPLED_FOR), random.Random(seed))  # noqa: S311


def erase() -> None:
    """Delete the whole record."""
    for model in RECORDED:
        model._base_manager.all()._raw_delete(connection.alias)


class _Fabrication:
    """The hours up to now, each with its share of the jobs: by night one part, by day two."""

    def __init__(self, jobs: int, days: int, die: random.Random, now: float, say: Say) -> None:
        self._jobs, self._die, self._now, self._say = jobs, die, now, say
        running = int(now // HOUR)
        self._hours = range(running - days * HOURS_A_DAY, running)
        self._running = running
        parts = sum(map(_parts, self._hours)) + 1
        self._part = jobs // parts
        self._stream = Stream(SOURCE)
        self._next_id = 1

    def write(self) -> None:
        """All hours in their order, so that a later job has a higher number."""
        recorded: dict[int, Span] = {}
        for hour in self._hours:
            parts = _parts(hour)
            if parts in recorded:
                self._copy(recorded[parts], hour)
            else:
                recorded[parts] = self._record(parts * self._part, hour)
        rest = self._jobs - (self._next_id - 1)
        self._record(rest, self._running)

    def _copy(self, span: Span, hour: int) -> None:
        if span.count:
            self._next_id = copy_span(span, self._next_id, hour).last + 1
        self._say(f"{self._next_id - 1:,} of {self._jobs:,} jobs")

    def _record(self, count: int, hour: int) -> Span:
        """Jobs of one hour by the record's own door; of the running one, as far as it has come."""
        start, end = hour * HOUR, min((hour + 1) * HOUR, self._now)
        told = events(count, start, end, self._die, cut=hour == self._running)
        _commit(self._stream.entries(told))
        if hour == self._running:
            _commit(self._stream.of_workers(self._now))
        span = Span(self._next_id, self._next_id + count - 1, hour)
        self._next_id = span.last + 1
        return span


def _parts(hour: int) -> int:
    return 2 if hour % HOURS_A_DAY in BUSY_HOURS else 1


def _commit(entries: Iterator[StreamEntry]) -> None:
    record = Record(SOURCE)
    while batch := list(islice(entries, BATCH_ENTRIES)):
        record.commit(batch)


def _write_days() -> None:
    """The buckets of the days, from those of their hours."""
    hours = Bucket.objects.filter(cluster=Cluster.DEFAULT_ID, tier=Bucket.HOUR)
    for day in sorted({hour // HOURS_A_DAY for hour in hours.values_list("start", flat=True).distinct()}):
        tallies = _merged(day)
        rows = [bucket_row(Cluster.DEFAULT_ID, Bucket.DAY, key, tally) for key, tally in tallies.items()]
        with transaction.atomic():
            store.write("bucket", rows)


def _merged(day: int) -> dict[Key, Tally]:
    of_day: dict[Key, Tally] = {}
    hours = range(day * HOURS_A_DAY, (day + 1) * HOURS_A_DAY)
    for key, tally in loading.buckets(Cluster.DEFAULT_ID, Bucket.HOUR, hours).items():
        of_day.setdefault(key._replace(minute=day), Tally()).merge(tally)
    return of_day


def _write_samples(now: datetime, span: timedelta, die: random.Random) -> None:
    """What queues and workers were like: lately as often as the monitor samples, before by the minute."""
    ages = [*range(0, LATELY, SAMPLE_SECONDS), *range(LATELY, int(span.total_seconds()), Bucket.MINUTE)]
    moments = [now - timedelta(seconds=age) for age in ages]
    QueueSample.objects.bulk_create(
        (_queue_sample(queue, at, die.randrange(12)) for at in moments for queue in QUEUES),
        batch_size=ROWS_AT_ONCE,
    )
    WorkerSample.objects.bulk_create(
        (WorkerSample(at=at, online=6, known=6, busy=die.randrange(49), slots=48) for at in moments),
        batch_size=ROWS_AT_ONCE,
    )


def _queue_sample(queue: str, at: datetime, depth: int) -> QueueSample:
    oldest_at = at - timedelta(seconds=depth / 4) if depth else None
    return QueueSample(queue=queue, at=at, depth=depth, unacked=2, oldest_at=oldest_at)
