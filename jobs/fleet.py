"""How each worker stood at one moment, as a sample keeps it: what its row shows only as it is now. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from copy import copy
from datetime import datetime, timedelta
from typing import Any

import orjson

from jobs.models import Worker
from jobs.values import storable_json

MOST = 1_000
# What moves while an incarnation lives, by columns of Worker; the rest it tells once.
KEPT = ("busy", "slots", "processed", "load", "queues", "held")
SILENT = "silent"


def told(workers: Iterable[Worker], at: datetime) -> str:
    """The text of a sample: for each worker its id, what moves, in the order of KEPT, and for how long it
    was silent, in seconds."""
    return storable_json(
        [
            [worker.pk, *(getattr(worker, name) for name in KEPT), (at - worker.seen_at).total_seconds()]
            for worker in list(workers)[:MOST]
        ]
    )


def read(text: str | None) -> Mapping[int, Mapping[str, Any]]:
    """What moved, by id of the worker; empty where nothing was kept."""
    rows = orjson.loads(text) if text else []
    return {row[0]: dict(zip((*KEPT, SILENT), row[1:], strict=False)) for row in rows}


def as_it_was(worker: Worker, at: datetime, kept: Mapping[int, Mapping[str, Any]]) -> Worker:
    """An incarnation as it stood then; what nobody kept of it is None, never what it is today."""
    then = copy(worker)
    facts = kept.get(worker.pk, {})
    for name in KEPT:
        setattr(then, name, facts.get(name))
    then.seen_at = min(worker.seen_at, at - timedelta(seconds=max(0.0, facts.get(SILENT, 0.0))))
    if worker.offline_at is not None and worker.offline_at > at:
        then.offline_at = None
    return then
