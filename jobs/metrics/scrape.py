"""One scrape: what was read, in families."""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import datetime

from jobs.metrics import celery, flower, ours
from jobs.metrics.families import Family
from jobs.metrics.look import Look, look

SETS: dict[str, Callable[[Look], list[Family]]] = {
    "nightdesk": ours.families,
    "celery": celery.families,
    "flower": flower.families,
}


def scrape(cluster_id: int, now: datetime, sets: Collection[str] = SETS.keys()) -> list[Family]:
    """The families of these SETS."""
    seen = look(cluster_id, now)
    return [family for name, families in SETS.items() if name in sets for family in families(seen)]
