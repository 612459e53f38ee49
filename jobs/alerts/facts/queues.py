"""How queues stand, and who reads them: from the monitor's samples and what workers say."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import Max, Min

from jobs.alerts.facts.buckets import read_taken
from jobs.alerts.shapes import QueueFacts
from jobs.liveness import SAMPLE_STALE_AFTER, WorkerState, queues_of, seconds_since
from jobs.models import QueueSample, Worker
from jobs.seen import read_pauses

# One that is a little late still reads its queues.
THERE: frozenset[WorkerState] = frozenset({"online", "late"})

# Samples don't come on the second: looked at from so much earlier, a whole time can be seen.
BEFORE = timedelta(seconds=30)

Workers = Sequence[tuple[Worker, WorkerState]]


def read_samples(cluster_id: int, now: datetime) -> list[QueueSample]:
    """The latest sample of each queue, if it is fresh; one statement."""
    since = now - timedelta(seconds=SAMPLE_STALE_AFTER)
    rows = QueueSample.objects.filter(cluster=cluster_id, at__gt=since).order_by("at")
    return list({row.queue: row for row in rows}.values())


def read_queues(cluster_id: int, now: datetime, workers: Workers, within: timedelta) -> list[QueueFacts]:
    """Each sampled queue; `taken` is told as far back as `within`, `waited` a little further."""
    samples = read_samples(cluster_id, now)
    pauses = read_pauses(cluster_id)
    waited = _read_waited(cluster_id, now, within + BEFORE)
    taken = read_taken(cluster_id, now, within)
    there = [worker for worker, state in workers if state in THERE]
    return [
        queue_facts(
            sample,
            there,
            paused=sample.queue in pauses and pauses[sample.queue].resumed_at is None,
            waited=waited.get(sample.queue, 0.0),
            taken=taken.get(sample.queue, 0),
        )
        for sample in samples
    ]


def _read_waited(cluster_id: int, now: datetime, within: timedelta) -> dict[str, float]:
    """For how long each queue has held jobs in every sample, in seconds; two statements."""
    rows = QueueSample.objects.filter(cluster=cluster_id, at__gte=now - within).order_by()
    since: dict[str, datetime] = dict(rows.values_list("queue").annotate(Min("at")))
    since.update(rows.exclude(depth__gt=0).values_list("queue").annotate(Max("at")))
    return {queue: seconds_since(at, now) for queue, at in since.items()}


# Pure from here on


def queue_facts(
    sample: QueueSample, there: Iterable[Worker], *, paused: bool, waited: float, taken: int
) -> QueueFacts:
    """A queue, from its latest sample and the workers that are there."""
    readers, free = _read_by(sample.queue, there)
    policy = settings.QUEUES.get(sample.queue)
    oldest = None if sample.oldest_at is None else seconds_since(sample.oldest_at, sample.at)
    return QueueFacts(
        name=sample.queue,
        depth=sample.depth,
        oldest=oldest if sample.depth else (0.0 if sample.depth == 0 else None),
        target=policy.target if policy else None,
        readers=readers,
        free=free,
        paused=paused,
        waited=waited,
        taken=taken,
    )


def _read_by(queue: str, there: Iterable[Worker]) -> tuple[int | None, int | None]:
    """How many workers read it, and how many free slots these have; None where one does not tell."""
    known = list(there)
    readers = [worker for worker in known if queue in queues_of(worker)]
    if not readers and any(worker.queues is None for worker in known):
        return None, None
    return len(readers), _sum(_free(worker) for worker in readers)


def _free(worker: Worker) -> int | None:
    return None if worker.slots is None or worker.busy is None else max(0, worker.slots - worker.busy)


def _sum(values: Iterable[int | None]) -> int | None:
    known = list(values)
    told = [value for value in known if value is not None]
    return sum(told) if len(told) == len(known) else None
