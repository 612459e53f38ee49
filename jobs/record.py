"""The one door for the record: a batch of stream entries, in one transaction with the position.

1. What was recorded before is dropped, by producer and sequence number; holes are counted as lost.
2. Events are folded per job in memory, from the rows held or read: `prepare`.
3. The position moves first, by compare-and-set. If somebody else has moved it, nothing is written.
4. Rows, buckets, producers and workers follow in the same transaction: `write`.

A batch may be prepared while the one before is being written, by another thread.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from django.db import DatabaseError, OperationalError, transaction
from django.db.models import F, Max

from jobs import models, store
from jobs.batch import REFUSALS, SAMPLE_LENGTH, Batch, Hole, Producer, StreamEntry, cut
from jobs.deaths import dead_rows, message_rows
from jobs.errors.marking import ungrouped_rows
from jobs.held import Held
from jobs.lifecycle import Job, fold
from jobs.log_lines import rows_of
from jobs.metrics import totals
from jobs.rollups import Deltas, Key, Tally, counted
from jobs.rows import attempt_rows, bucket_row, job_row, payload_rows, series_row, standing_change
from jobs.store.sqlite_process import SqliteProcess
from jobs.store.tables import Move, Row, moment
from jobs.store.turns import turn, written
from jobs.workers import fold_workers, worker_row
from nightdesk.entry import stream_time
from nightdesk.options import SENSITIVE_KEYS
from nightdesk.redaction import Redactor

logger = logging.getLogger(__name__)

# What is set aside may come from a program without a recorder.
REDACTOR = Redactor(SENSITIVE_KEYS)


class Fenced(Exception):
    """Another monitor has moved the position: what was held in memory is stale."""


@dataclass
class Committed:
    """What one commit brought: ids of the jobs it touched, and how many events."""

    jobs: set[int] = field(default_factory=set)
    events: int = 0
    lost: int = 0
    quarantined: int = 0


@dataclass(frozen=True)
class Prepared:
    """A batch as it will be written: rows by kind, over the position that it starts from."""

    after_id: str
    batch: Batch
    job_ids: set[int]
    rows: dict[str, list[Row]]
    settled: list[int]

    @property
    def last_id(self) -> str:
        return self.batch.last_id


class Record:
    """The writer of one cluster's record from one stream.

    One thread prepares and one writes, each batch in the order of the stream;
    after a fault, start with a new Record.
    """

    def __init__(self, source: str, cluster_id: int = models.Cluster.DEFAULT_ID) -> None:
        self.source = source
        self.cluster_id = cluster_id
        self.reload()

    def reload(self) -> None:
        """Forget what is held, and start from the position in the database."""
        position, _ = models.Position.objects.get_or_create(cluster_id=self.cluster_id, source=self.source)
        self._position_id = position.id
        self.last_id = position.last_id
        self._next_id = (models.Job.objects.aggregate(last=Max("id"))["last"] or 0) + 1
        self.reload_later()

    def reload_later(self) -> None:
        """Drop what is held; it is read again as needed."""
        self._held = Held(self.cluster_id)

    def commit(self, entries: Sequence[StreamEntry]) -> Committed:
        """Record the entries, all or none.

        Raises Fenced where another monitor was faster, and OperationalError
        while the database can't be written; in both cases nothing is lost, and
        the next commit starts anew. An event that is refused for what it holds
        is quarantined, and the others are recorded.
        """
        start = self.last_id, self._next_id
        try:
            return self.write(self.prepare(entries))
        except (OperationalError, Fenced):
            self.last_id, self._next_id = start
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
            return self.write(self.prepare(entries, refused=f"refused: {type(fault).__name__}"))

    # In memory

    def forget(self, ids: Collection[int]) -> None:
        """These jobs were deleted: what comes of them now begins anew, and is no rest of what they were."""
        self._held.forget(ids)

    def prepare(self, entries: Sequence[StreamEntry], refused: str = "") -> Prepared:
        """Fold the entries into what is held, which moves on; with `refused`, set all of them aside."""
        return self._prepare(self._read(entries, refused))

    def _prepare(self, batch: Batch) -> Prepared:
        before = self._held.jobs(batch.job_events)
        after = {
            task_id: fold(before.get(task_id), task_id, events)
            for task_id, events in batch.job_events.items()
        }
        self._number(after.values())
        tallies = self._tallies(before, after)
        workers = fold_workers(self._workers_of(batch), batch.worker_events, self.cluster_id)
        changes = [standing_change(self.cluster_id, before.get(id), job) for id, job in after.items()]
        prepared = Prepared(
            after_id=self.last_id,
            batch=batch,
            job_ids={job.id for job in after.values() if job.id is not None},
            rows={
                **self._job_rows(batch, before, after),
                "standing": [row for kind, row in changes if kind == "standing"],
                "bucket": [bucket_row(self.cluster_id, tier, key, t) for (tier, key), t in tallies.items()],
                "series": self._series_rows(before, after),
                "ungrouped": ungrouped_rows(self.cluster_id, batch.last_id, before, after),
                "worker": [worker_row(worker) for worker in workers.values()],
                "producer": [self._producer_row(id, p) for id, p in batch.producers.items()],
            },
            settled=[row[0] for kind, row in changes if kind == "settled"],
        )
        self._held.remember(after, workers, batch.producers, tallies.keys())
        self.last_id = batch.last_id
        return prepared

    def _read(self, entries: Sequence[StreamEntry], refused: str) -> Batch:
        batch = Batch.of(entries)
        self._held.find_producers(batch.producer_ids)
        batch.read(self._held.producers, refused)
        return batch

    def _number(self, jobs: Iterable[Job]) -> None:
        for job in jobs:
            if job.id is None:
                job.id, self._next_id = self._next_id, self._next_id + 1

    def _tallies(self, before: Mapping[str, Job], after: Mapping[str, Job]) -> dict[tuple[int, Key], Tally]:
        minutes = Deltas.of((counted(before.get(task_id)), counted(job)) for task_id, job in after.items())
        hours = minutes.wider(models.Bucket.HOUR // models.Bucket.MINUTE)
        days = hours.wider(models.Bucket.DAY // models.Bucket.HOUR)
        tiers = {models.Bucket.MINUTE: minutes, models.Bucket.HOUR: hours, models.Bucket.DAY: days}
        return {key: t for tier, deltas in tiers.items() for key, t in self._held.add(tier, deltas).items()}

    def _series_rows(self, before: Mapping[str, Job], after: Mapping[str, Job]) -> list[Row]:
        moved = self._held.count(before, after, time.time())
        return [series_row(self.cluster_id, key, tally) for key, tally in moved.items()]

    def _workers_of(self, batch: Batch) -> dict[str, models.Worker]:
        return self._held.workers({producer for producer, _ in batch.worker_events})

    def _job_rows(
        self, batch: Batch, before: Mapping[str, Job], after: Mapping[str, Job]
    ) -> dict[str, list[Row]]:
        return {
            "job": [job_row(self.cluster_id, job) for job in after.values()],
            "attempt": [row for id, job in after.items() for row in attempt_rows(before.get(id), job)],
            "payload": [
                row
                for id, job in after.items()
                for row in payload_rows(before.get(id), job, batch.job_events[id])
            ],
            "log": [row for id, job in after.items() for row in rows_of(job.id, batch.job_events[id])],
            "dead": [
                row for id, job in after.items() for row in dead_rows(self.cluster_id, before.get(id), job)
            ],
            "message": message_rows(self.cluster_id, batch.dropped),
        }

    def _producer_row(self, id: str, producer: Producer) -> list[object]:
        return [id, self.cluster_id, producer.last_seq, producer.lost, moment(producer.seen_at)]

    # In the database

    def write(self, prepared: Prepared, elsewhere: SqliteProcess | None = None) -> Committed:
        """Write a batch, all or none; raises Fenced or DatabaseError. `elsewhere`: who writes for us."""
        batch = prepared.batch
        moved = self._write(prepared) if elsewhere is None else self._write_by(elsewhere, prepared)
        if not moved:
            raise Fenced(f"the position is no longer {prepared.after_id}")
        return Committed(
            jobs=prepared.job_ids,
            events=batch.events,
            lost=sum(hole.lost for hole in batch.holes),
            quarantined=sum(count for count, _ in batch.odd.values()),
        )

    def _write(self, prepared: Prepared) -> bool:
        with written():
            moved = store.move_position(self._move(prepared))
            if moved:
                for kind, rows in prepared.rows.items():
                    store.write(kind, rows)
                store.settle(prepared.settled)
                self._write_faults(prepared.batch)
        return moved

    def _write_by(self, process: SqliteProcess, prepared: Prepared) -> bool:
        if prepared.batch.holes or prepared.batch.odd:
            return self._write(prepared)
        with turn():
            return process.write(self._move(prepared), prepared.rows, prepared.settled)

    def _move(self, prepared: Prepared) -> Move:
        now = time.time()
        lag = max(0.0, now - stream_time(prepared.last_id))
        event_at = prepared.batch.last_event_at
        return Move(self._position_id, prepared.after_id, prepared.last_id, event_at, now, lag)

    def _write_faults(self, batch: Batch) -> None:
        models.Gap.objects.bulk_create([self._gap(hole) for hole in batch.holes])
        self._count_faults(batch)
        now = datetime.now(UTC)
        for reason, (count, sample) in batch.odd.items():
            row, _ = models.Quarantine.objects.get_or_create(
                cluster_id=self.cluster_id, reason=reason[:64], defaults={"first_at": now, "last_at": now}
            )
            models.Quarantine.objects.filter(pk=row.pk).update(
                count=F("count") + count, last_at=now, sample=REDACTOR.excerpt(sample, SAMPLE_LENGTH)
            )

    def _count_faults(self, batch: Batch) -> None:
        if batch.holes:
            totals.add(totals.GAPS, {"sequence": len(batch.holes)}, self.cluster_id)
            totals.add(totals.LOST, {"": sum(hole.lost for hole in batch.holes)}, self.cluster_id)
        odd = {reason: count for reason, (count, _) in batch.odd.items()}
        totals.add(totals.QUARANTINED, odd, self.cluster_id)

    def _gap(self, hole: Hole) -> models.Gap:
        return self._gap_of("sequence", hole.began, hole.ended, hole.lost)

    def _gap_of(self, reason: str, began: float, ended: float, lost: int | None = None) -> models.Gap:
        return models.Gap(
            cluster_id=self.cluster_id,
            source=self.source,
            reason=reason,
            began_at=_utc(began),
            ended_at=_utc(ended),
            lost=lost,
        )

    # What the reader of the stream has found out

    def set_aside(self, entry_id: str, reason: str) -> Committed:
        """Pass over an entry that can't even be read; what it held is a hole in its producer's numbers."""
        batch = Batch(last_id=entry_id)
        batch.quarantine(reason, f"entry {entry_id}")
        return self.write(self._prepare(batch))

    def touch(self) -> None:
        """Write something small; raises OperationalError where nothing can be written."""
        models.Position.objects.filter(id=self._position_id).update(source=self.source)

    def note_gap(self, reason: str, began: float, ended: float) -> None:
        """A span, in seconds by the stream's clock, of which nobody can say what is missing.

        It is noted once, and grows while what follows it is cut off as well before it is read.
        """
        with transaction.atomic():
            _, new = models.Gap.objects.update_or_create(
                cluster_id=self.cluster_id,
                source=self.source,
                reason=reason,
                began_at=_utc(min(began, ended)),
                defaults={"ended_at": _utc(max(began, ended))},
            )
            if new:
                totals.add(totals.GAPS, {reason: 1}, self.cluster_id)

    def rewind(self) -> None:
        """The stream is another one than was read: start at its beginning. What is known counts no more."""
        began = self.last_id
        with transaction.atomic():
            moved = models.Position.objects.filter(id=self._position_id, last_id=began).update(last_id="0-0")
            if not moved:
                raise Fenced(f"the position is no longer {began}")
            self.note_gap("replaced", stream_time(began), time.time())
        self.last_id = "0-0"


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
