"""Everything that a scrape shows, read from the database at one moment.

Nine statements over small tables; how many jobs there are does not matter.
What is not known is None or missing, never 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Count, Min, Q

from jobs import loading
from jobs.liveness import SAMPLE_STALE_AFTER, WorkerState
from jobs.metrics.counting import Key, Tally
from jobs.models import Outgoing, Pause, QueueSample, Standing, State, Total, Worker
from jobs.seen import DEAD_SHOWN_FOR, MOST_WORKERS, read_pauses, read_workers
from jobs.trust import Trust, read_trust

# What stopped in good order stays at 0 for this long, as with celery-exporter; what died, DEAD_SHOWN_FOR.
STOPPED_SHOWN_FOR = timedelta(minutes=10)
# Counting further would cost more than the figure is worth.
MOST_OUTGOING = 100_000
MOST_PREFETCHED = 20_000


@dataclass(frozen=True)
class Outbox:
    """What waits to be published and is due: how many, MOST_OUTGOING at most, and since when."""

    waiting: int
    since: datetime | None


@dataclass(frozen=True)
class Look:
    """What was read. `stopped`: names of workers that ended in good order just now."""

    now: datetime
    trust: Trust
    series: Mapping[Key, Tally]
    totals: Sequence[Total]
    workers: Sequence[tuple[Worker, WorkerState]]
    stopped: Sequence[str]
    queues: Sequence[QueueSample]
    pauses: Mapping[str, Pause]
    prefetched: Mapping[tuple[str, str], int]
    outbox: Outbox

    @property
    def online(self) -> list[Worker]:
        """The workers that are there."""
        return [worker for worker, state in self.workers if state in ("online", "late")]


def look(cluster_id: int, now: datetime) -> Look:
    """Everything at once."""
    trust = read_trust(cluster_id, now)
    workers = read_workers(cluster_id, trust)
    return Look(
        now=now,
        trust=trust,
        series=loading.series(cluster_id),
        totals=list(Total.objects.filter(cluster=cluster_id).order_by("name", "label")),
        workers=workers,
        stopped=_read_stopped(cluster_id, trust, {worker.name for worker, _ in workers}),
        queues=_read_queues(cluster_id, now),
        pauses=read_pauses(cluster_id),
        prefetched=_read_prefetched(cluster_id),
        outbox=_read_outbox(cluster_id, now),
    )


def _read_stopped(cluster_id: int, trust: Trust, standing: set[str]) -> list[str]:
    """Whom nobody has replaced under the same name."""
    gone = Worker.objects.filter(cluster=cluster_id, seen_at__gte=trust.as_of - DEAD_SHOWN_FOR)
    lately = gone.filter(offline_at__gte=trust.as_of - STOPPED_SHOWN_FOR).order_by("-seen_at")
    return sorted(set(lately.values_list("name", flat=True)[:MOST_WORKERS]) - standing)


def _read_queues(cluster_id: int, now: datetime) -> list[QueueSample]:
    """The last sample of each queue, if it is fresh."""
    fresh = QueueSample.objects.filter(
        cluster=cluster_id, at__gte=now - timedelta(seconds=SAMPLE_STALE_AFTER), at__lte=now
    )
    latest = {sample.queue: sample for sample in fresh.order_by("at")}
    return [latest[name] for name in sorted(latest)]


def _read_prefetched(cluster_id: int) -> dict[tuple[str, str], int]:
    """How many jobs are with a worker and not started, by worker and task, among the newest so many."""
    held = Standing.objects.filter(cluster=cluster_id, state=State.RECEIVED).order_by("-job_id")
    newest = held.values("job_id")[:MOST_PREFETCHED]
    rows = (
        Standing.objects.filter(job_id__in=newest, job__worker__isnull=False)
        .order_by()
        .values_list("job__worker", "task")
        .annotate(n=Count("pk"))
    )
    return {(worker, task): n for worker, task, n in rows if task is not None}


def _read_outbox(cluster_id: int, now: datetime) -> Outbox:
    due = Outgoing.objects.filter(Q(claimed_until=None) | Q(claimed_until__lt=now), due_at__lte=now)
    rows = due.filter(cluster=cluster_id).order_by("due_at")[:MOST_OUTGOING]
    found = rows.aggregate(n=Count("pk"), since=Min("due_at"))
    return Outbox(found["n"], found["since"])
