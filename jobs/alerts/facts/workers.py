"""Workers that should be there and are not, with what they were running."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime

from django.db.models import Count

from jobs.alerts.shapes import WorkerFacts
from jobs.liveness import WorkerState, queues_of, seconds_since
from jobs.models import Standing, State, Worker


def read_dead(
    cluster_id: int, workers: Sequence[tuple[Worker, WorkerState]], as_of: datetime
) -> list[WorkerFacts]:
    """Those that are dead; one statement over jobs that run, if there are any dead."""
    dead = [worker for worker, state in workers if state == "dead"]
    running = _read_running(cluster_id, {worker.name for worker in dead})
    return [
        WorkerFacts(
            worker.name,
            seconds_since(worker.seen_at, as_of),
            running.get(worker.name, 0),
            tuple(queues_of(worker)),
        )
        for worker in dead
    ]


def _read_running(cluster_id: int, names: Collection[str]) -> dict[str, int]:
    """How many running jobs each of these workers has in hand: as many as there are slots, or were."""
    if not names:
        return {}
    rows = Standing.objects.filter(cluster=cluster_id, state=State.RUNNING, job__worker__in=names)
    return dict(rows.order_by().values_list("job__worker").annotate(Count("pk")))
