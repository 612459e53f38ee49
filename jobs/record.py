"""The one door for the record: a batch of stream entries, in one transaction with the position.

1. What was recorded before is dropped, by producer and sequence number; holes are counted as lost.
2. Events are folded per job in memory, from the rows held or read.
3. The position moves first, by compare-and-set. If somebody else has moved it, nothing is written.
4. Rows, buckets, producers and workers follow in the same transaction.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from django.db import DatabaseError, OperationalError, transaction
from django.db.models import F, Max

from jobs import loading, models, store
from jobs.batch import REFUSALS, Batch, Hole, Producer, StreamEntry, cut
from jobs.lifecycle import Job, fold
from jobs.rollups import Deltas, Key, Tally, counted
from jobs.rows import attempt_rows, bucket_row, job_row, payload_rows, standing_change
from jobs.store.tables import moment
from jobs.workers import fold_workers, worker_row
from nightdesk.entry import stream_time

logger = logging.getLogger(__name__)

JOBS_HELD = 20_000
BUCKETS_HELD = 5_000
PRODUCERS_HELD = 10_000


class Fenced(Exception):
    """Another monitor has moved the position: what was held in memory is stale."""


@dataclass
class Committed:
    """What one commit brought: ids of the jobs it touched, and how many events."""

    jobs: set[int] = field(default_factory=set)
    events: int = 0
    lost: int = 0
    quarantined: int = 0


class Record:
    """The writer of one cluster's record from one stream. Not safe for threads: one loop owns it."""

    def __init__(self, source: str, cluster_id: int = models.Cluster.DEFAULT_ID) -> None:
        self.source = source
        self.cluster_id = cluster_id
        self.reload()

    def reload(self) -> None:
        """Forget what is held, and start from the position in the database."""
        position, _ = models.Position.objects.get_or_create(cluster_id=self.cluster_id, source=self.source)
        self._position_id = position.id
        self.last_id = position.last_id
        self._jobs: dict[str, Job] = {}
        self._buckets: dict[tuple[int, Key], Tally] = {}
        self._producers: dict[str, Producer] = {}
        self._workers: dict[str, models.Worker] = {}
        self._next_id = (models.Job.objects.aggregate(last=Max("id"))["last"] or 0) + 1

    def commit(self, entries: Sequence[StreamEntry]) -> Committed:
        """Record the entries, all or none.

        Raises Fenced where another monitor was faster, and OperationalError
        while the database can't be written; in both cases nothing is lost, and
        the next commit starts anew. An event that is refused for what it holds
        is quarantined, and the others are recorded.
        """
        try:
            return self._commit(entries)
        except OperationalError:
            self.reload_later()
            raise
        except (DatabaseError, *REFUSALS) as fault:
            self.reload()
            parts = entries if len(entries) > 1 else cut(entries[0])
            if len(parts) > 1:
                logger.warning("a batch was refused (%s); its %d parts go one by one", fault, len(parts))
                # Together: parts of an entry share its id, and a kill between them must not lose the rest.
                with transaction.atomic():
                    return _together([self.commit([part]) for part in parts])
            return self._commit(entries, refused=f"refused: {type(fault).__name__}")

    def reload_later(self) -> None:
        """Drop what is held; it is read again as needed."""
        self._jobs, self._buckets, self._producers, self._workers = {}, {}, {}, {}

    def _commit(self, entries: Sequence[StreamEntry], refused: str = "") -> Committed:
        batch = self._read(entries, refused)
        before = self._jobs_of(batch)
        after = {
            task_id: fold(before.get(task_id), task_id, events)
            for task_id, events in batch.job_events.items()
        }
        next_id = self._number(after.values(), self._next_id)
        tallies = self._tallies(before, after)
        workers = fold_workers(self._workers_of(batch), batch.worker_events, self.cluster_id)
        with transaction.atomic():
            self._move_position(batch)
            self._write_jobs(batch, before, after)
            store.write(
                "bucket", [bucket_row(self.cluster_id, tier, key, t) for (tier, key), t in tallies.items()]
            )
            store.write("worker", [worker_row(worker) for worker in workers.values()])
            store.write("producer", [self._producer_row(id, p) for id, p in batch.producers.items()])
            self._write_faults(batch)
        self._hold(batch, after, tallies, workers)
        self._next_id = next_id
        return Committed(
            jobs={job.id for job in after.values() if job.id is not None},
            events=batch.events,
            lost=sum(hole.lost for hole in batch.holes),
            quarantined=sum(count for count, _ in batch.odd.values()),
        )

    # Rows before and after

    def _read(self, entries: Sequence[StreamEntry], refused: str) -> Batch:
        batch = Batch.of(entries)
        self._hold_producers(batch.producer_ids)
        batch.read(self._producers, refused)
        return batch

    def _hold_producers(self, ids: set[str]) -> None:
        for chunk in loading.chunks(ids - self._producers.keys()):
            for row in models.Producer.objects.filter(id__in=chunk):
                self._producers[row.id] = Producer(row.last_seq, row.lost, row.seen_at.timestamp())

    def _jobs_of(self, batch: Batch) -> dict[str, Job]:
        held = {task_id: self._jobs[task_id] for task_id in batch.job_events if task_id in self._jobs}
        missing = [task_id for task_id in batch.job_events if task_id not in held]
        return {**held, **loading.jobs_by_task_id(self.cluster_id, missing)}

    def _number(self, jobs: Iterable[Job], next_id: int) -> int:
        for job in jobs:
            if job.id is None:
                job.id, next_id = next_id, next_id + 1
        return next_id

    def _tallies(self, before: dict[str, Job], after: dict[str, Job]) -> dict[tuple[int, Key], Tally]:
        deltas = Deltas()
        for task_id, job in after.items():
            deltas.move(counted(before.get(task_id)), counted(job))
        return {
            **self._added(models.Bucket.MINUTE, deltas),
            **self._added(models.Bucket.HOUR, deltas.by_hour()),
        }

    def _added(self, tier: int, deltas: Deltas) -> dict[tuple[int, Key], Tally]:
        self._hold_buckets(tier, {key.minute for key in deltas if (tier, key) not in self._buckets})
        tallies = {}
        for key, delta in deltas.items():
            tally = Tally()
            tally.merge(self._buckets.get((tier, key), Tally()))
            tally.merge(delta)
            tallies[(tier, key)] = tally
        return tallies

    def _hold_buckets(self, tier: int, starts: set[int]) -> None:
        for key, tally in loading.buckets(self.cluster_id, tier, starts).items():
            self._buckets.setdefault((tier, key), tally)

    def _workers_of(self, batch: Batch) -> dict[str, models.Worker]:
        ids = {producer for producer, _ in batch.worker_events}
        for chunk in loading.chunks(ids - self._workers.keys()):
            for row in models.Worker.objects.filter(producer__in=chunk):
                self._workers[row.producer] = row
        return {id: self._workers[id] for id in ids if id in self._workers}

    # Writing

    def _move_position(self, batch: Batch) -> None:
        now = time.time()
        lag = max(0.0, now - stream_time(batch.last_id))
        if not store.move_position(
            self._position_id, self.last_id, batch.last_id, batch.last_event_at, now, lag
        ):
            raise Fenced(f"the position is no longer {self.last_id}")

    def _write_jobs(self, batch: Batch, before: dict[str, Job], after: dict[str, Job]) -> None:
        store.write("job", [job_row(self.cluster_id, job) for job in after.values()])
        store.write(
            "attempt", [row for id, job in after.items() for row in attempt_rows(before.get(id), job)]
        )
        changes = [standing_change(self.cluster_id, before.get(id), job) for id, job in after.items()]
        store.write("standing", [row for kind, row in changes if kind == "standing"])
        store.settle([row[0] for kind, row in changes if kind == "settled"])
        store.write(
            "payload", [row for id, job in after.items() for row in payload_rows(job, batch.job_events[id])]
        )

    def _producer_row(self, id: str, producer: Producer) -> list[object]:
        return [id, self.cluster_id, producer.last_seq, producer.lost, moment(producer.seen_at)]

    def _write_faults(self, batch: Batch) -> None:
        models.Gap.objects.bulk_create([self._gap(hole) for hole in batch.holes])
        now = datetime.now(UTC)
        for reason, (count, sample) in batch.odd.items():
            row, _ = models.Quarantine.objects.get_or_create(
                cluster_id=self.cluster_id, reason=reason[:64], defaults={"first_at": now, "last_at": now}
            )
            models.Quarantine.objects.filter(pk=row.pk).update(
                count=F("count") + count, last_at=now, sample=sample
            )

    def _gap(self, hole: Hole) -> models.Gap:
        return models.Gap(
            cluster_id=self.cluster_id,
            source=self.source,
            reason="sequence",
            began_at=_utc(hole.began),
            ended_at=_utc(hole.ended),
            lost=hole.lost,
        )

    # After the commit

    def _hold(
        self,
        batch: Batch,
        jobs: dict[str, Job],
        tallies: dict[tuple[int, Key], Tally],
        workers: dict[str, models.Worker],
    ) -> None:
        self.last_id = batch.last_id
        for task_id, job in jobs.items():
            self._jobs.pop(task_id, None)
            self._jobs[task_id] = job
            for attempt in job.attempts.values():
                attempt.traceback = None
        for key, tally in tallies.items():
            self._buckets.pop(key, None)
            self._buckets[key] = tally
        self._producers.update(batch.producers)
        self._workers.update(workers)
        _drop_oldest(self._jobs, JOBS_HELD)
        _drop_oldest(self._buckets, BUCKETS_HELD)
        _drop_oldest(self._producers, PRODUCERS_HELD)
        _drop_oldest(self._workers, PRODUCERS_HELD)


def _drop_oldest(held: dict[Any, Any], most: int) -> None:
    """Dicts keep the order of insertion; what a commit touches is inserted anew."""
    for key in list(islice(held, max(0, len(held) - most))):
        del held[key]


def _together(parts: Iterable[Committed]) -> Committed:
    whole = Committed()
    for part in parts:
        whole.jobs |= part.jobs
        whole.events += part.events
        whole.lost += part.lost
        whole.quarantined += part.quarantined
    return whole


def _utc(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
