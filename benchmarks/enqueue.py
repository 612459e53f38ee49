"""Jobs a second by `enqueue_many` against Celery's `delay`, and what one `enqueue` adds to a request."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from statistics import median

from benchmarks.databases import LABELS
from benchmarks.places import place
from benchmarks.report import Row, percentile

Round = Mapping[str, float]


def measure(
    vendor: str, jobs: int = 10_000, single: int = 1_000, rounds: int = 5, requests: int = 1_000
) -> list[Row]:
    """Rows: medians of the rounds, and percentiles of the requests, on servers of their own."""
    with place(vendor) as here:
        many = _told(here.run("-m", "benchmarks.enqueuer", "many", str(rounds), str(jobs), str(single)))
        one = _told(here.run("-m", "benchmarks.enqueuer", "one", str(requests)))
    return [*_rates(LABELS[vendor], many, jobs, single), *_delays(LABELS[vendor], one)]


def _told(text: str) -> list[Round]:
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def _rates(database: str, rounds: Sequence[Round], jobs: int, single: int) -> list[Row]:
    def rate(name: str, of: int) -> float:
        return median(of / took[name] for took in rounds)

    return [
        Row(f"enqueue_many, {database}, committed", rate("committed", jobs), "jobs/s", goal=">= 10,000"),
        Row(f"enqueue_many, {database}, in the broker", rate("published", jobs), "jobs/s"),
        Row(f"Celery's delay one by one, beside {database}", rate("delay", single), "jobs/s"),
    ]


def _delays(database: str, requests: Sequence[Round]) -> list[Row]:
    def at(percent: float) -> float:
        """What is added at this percentile, in milliseconds."""
        by_way = [percentile([took[name] for took in requests], percent) for name in ("with", "without")]
        return (by_way[0] - by_way[1]) * 1000

    return [
        Row(f"added to a request by enqueue, {database}, p50", at(50), "ms"),
        Row(f"added to a request by enqueue, {database}, p95", at(95), "ms", goal="<= 2"),
    ]
