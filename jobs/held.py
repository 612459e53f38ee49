"""What the writer of the record holds in memory: the rows that it touched last, and reads of the missing.

Bounded: what was not touched for the longest time is dropped, and read again
when it is needed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

from django.conf import settings

from jobs import loading, models
from jobs.batch import Producer
from jobs.lifecycle import Job
from jobs.metrics.counting import Key as SeriesKey
from jobs.metrics.counting import Ledger
from jobs.metrics.counting import Tally as SeriesTally
from jobs.rollups import Deltas, Key, Tally

JOBS_HELD = 20_000
BUCKETS_HELD = 5_000
PRODUCERS_HELD = 10_000
# Seconds; retention may have made room for other series.
LOOK_FOR_ROOM_EVERY = 3600.0


class Held:
    """Rows by key, as the last prepared batch leaves them."""

    def __init__(self, cluster_id: int) -> None:
        self._cluster_id = cluster_id
        self._jobs: dict[str, Job] = {}
        self._buckets: dict[tuple[int, Key], Tally] = {}
        self._workers: dict[str, models.Worker] = {}
        self.producers: dict[str, Producer] = {}
        self._ledger: Ledger | None = None
        self._looked_at = 0.0

    def find_producers(self, ids: Collection[str]) -> None:
        """Read the missing ones among these into `producers`."""
        for chunk in loading.chunks(set(ids) - self.producers.keys()):
            for row in models.Producer.objects.filter(id__in=chunk):
                self.producers[row.id] = Producer(row.last_seq, row.lost, row.seen_at.timestamp())

    def jobs(self, task_ids: Iterable[str]) -> dict[str, Job]:
        """The recorded ones among these, by task id."""
        found, missing = {}, []
        for task_id in task_ids:
            job = self._jobs.get(task_id)
            if job is None:
                missing.append(task_id)
            else:
                found[task_id] = job
        found.update(loading.jobs_by_task_id(self._cluster_id, missing))
        return found

    def forget(self, ids: Collection[int]) -> None:
        """These jobs are no longer recorded."""
        for task_id in [task_id for task_id, job in self._jobs.items() if job.id in ids]:
            del self._jobs[task_id]

    def workers(self, ids: set[str]) -> dict[str, models.Worker]:
        """The recorded ones among these, by producer."""
        for chunk in loading.chunks(ids - self._workers.keys()):
            for row in models.Worker.objects.filter(producer__in=chunk):
                self._workers[row.producer] = row
        return {id: self._workers[id] for id in ids if id in self._workers}

    def count(
        self, before: Mapping[str, Job], after: Mapping[str, Job], now: float
    ) -> dict[SeriesKey, SeriesTally]:
        """Count what Prometheus scrapes; the series that moved."""
        if self._ledger is None:
            self._ledger = Ledger(loading.series(self._cluster_id), settings.METRICS_LABEL_SETS)
        if self._ledger.full and now - self._looked_at > LOOK_FOR_ROOM_EVERY:
            self._looked_at = now
            kept = loading.series(self._cluster_id).keys()
            # What moved lately may not be committed yet.
            self._ledger.drop(lambda key, tally: key not in kept and tally.moved < now - LOOK_FOR_ROOM_EVERY)
        return self._ledger.count(before, after, now)

    def add(self, tier: int, deltas: Deltas) -> dict[tuple[int, Key], Tally]:
        """Add to the buckets of a tier; the buckets that changed."""
        self._find_buckets(tier, [key for key in deltas if (tier, key) not in self._buckets])
        changed = {}
        for key, delta in deltas.items():
            tally = self._buckets.pop((tier, key), None) or Tally()
            tally.merge(delta)
            changed[(tier, key)] = self._buckets[(tier, key)] = tally
        return changed

    def _find_buckets(self, tier: int, missing: Sequence[Key]) -> None:
        for key, tally in loading.buckets_among(self._cluster_id, tier, missing).items():
            self._buckets.setdefault((tier, key), tally)

    def remember(
        self,
        jobs: Mapping[str, Job],
        workers: Mapping[str, models.Worker],
        producers: Mapping[str, Producer],
        buckets: Collection[tuple[int, Key]],
    ) -> None:
        """Hold what a batch has made; of a job all but its long texts. Its buckets are held already."""
        for job in jobs.values():
            for attempt in job.attempts.values():
                attempt.traceback = attempt.result = None
        _hold(self._jobs, jobs, JOBS_HELD)
        _hold(self._workers, workers, PRODUCERS_HELD)
        _hold(self.producers, producers, PRODUCERS_HELD)
        _keep_latest(self._buckets, max(BUCKETS_HELD, len(buckets)))


def _hold(held: dict[str, Any], touched: Mapping[str, Any], most: int) -> None:
    """Dicts keep the order of insertion, so what is touched is inserted anew.

    All of a batch is held until the next one, whatever `most`: it may not be committed yet.
    """
    for key, value in touched.items():
        held.pop(key, None)
        held[key] = value
    _keep_latest(held, max(most, len(touched)))


def _keep_latest(held: dict[Any, Any], most: int) -> None:
    for key in list(islice(held, max(0, len(held) - most))):
        del held[key]
