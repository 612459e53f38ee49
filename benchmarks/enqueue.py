"""How fast jobs are enqueued, and what one of them adds to the transaction of a request."""

from __future__ import annotations

import json

from benchmarks.databases import LABELS
from benchmarks.places import place
from benchmarks.report import Row, percentile

MANY, ONES = 20_000, 1_000


def measure(vendor: str) -> list[Row]:
    """Rows: jobs a second by `enqueue_many` and by Celery; milliseconds that `enqueue` adds, p50 and p95."""
    with place(vendor) as here:
        told = json.loads(here.run("-m", "benchmarks.enqueue_here", str(MANY), str(ONES)).splitlines()[-1])
    label = LABELS[vendor]
    added = {
        share: (percentile(told["with"], share) - percentile(told["without"], share)) * 1e3
        for share in (50, 95)
    }
    return [
        Row(f"enqueue_many, {label}", MANY / told["many"], "jobs/s", ">= 10000"),
        Row(f"Celery one by one, {label}", ONES / told["celery"], "jobs/s"),
        Row(f"enqueue adds, p50, {label}", added[50], "ms"),
        Row(f"enqueue adds, p95, {label}", added[95], "ms", "<= 2"),
    ]
