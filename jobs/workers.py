"""What workers say of themselves: one row for each incarnation of a process."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from copy import copy
from datetime import UTC, datetime
from typing import Any

from jobs.events import WorkerEvent
from jobs.loading import seconds
from jobs.models import Worker
from jobs.store.tables import WORKER_COLUMNS, moment
from jobs.worker_facts import MOVING

FACTS = (
    "pid",
    "queues",
    "slots",
    "busy",
    "processed",
    "load",
    "version",
    "release",
    "freq",
    "setup",
    "held",
    *MOVING,
)


def fold_workers(
    known: Mapping[str, Worker], events: Iterable[tuple[str, WorkerEvent]], cluster_id: int
) -> dict[str, Worker]:
    """The workers that these (producer, event) touch, after them."""
    after: dict[str, Worker] = {}
    for producer, event in events:
        if producer not in after:
            after[producer] = (
                copy(known[producer]) if producer in known else _new(producer, cluster_id, event)
            )
        _apply(after[producer], event)
    return after


def _new(producer: str, cluster_id: int, event: WorkerEvent) -> Worker:
    return Worker(cluster_id=cluster_id, producer=producer, name=event.name, seen_at=_utc(event.at))


def _apply(worker: Worker, event: WorkerEvent) -> None:
    at = _utc(event.at)
    worker.online_at = min(worker.online_at or at, at)
    if at < worker.seen_at:
        return
    worker.seen_at = at
    worker.offline_at = at if event.kind == "offline" else None
    for name in FACTS:
        if name in event.facts:
            setattr(worker, name, event.facts[name])


def worker_row(worker: Worker) -> list[Any]:
    """A row in the order of producer and store.WORKER_COLUMNS."""
    return [worker.producer, *(_stored(getattr(worker, column)) for column in WORKER_COLUMNS)]


def _stored(value: Any) -> Any:
    return moment(seconds(value)) if isinstance(value, datetime) else value


def _utc(at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC)
