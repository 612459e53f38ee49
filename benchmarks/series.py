"""Counters of a large installation, as ingest counts them.

usage: python -m benchmarks.series TASKS QUEUES WORKERS SPREAD   (each task in SPREAD queues, on any worker)
"""

from __future__ import annotations

import os
import random
import sys
import time
from datetime import UTC, datetime

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "dashboard.settings")

import django

django.setup()

from django.conf import settings

from jobs import store
from jobs.lifecycle import Attempt, Job
from jobs.metrics.counting import Ledger
from jobs.models import Cluster, QueueSample, Worker
from jobs.rows import series_row
from jobs.store.turns import written

DAY = 86_400.0


def main(tasks: int, queues: int, workers: int, spread: int) -> None:
    """Fill the counters, and what stands beside them."""
    now = datetime.now(UTC)
    QueueSample.objects.bulk_create(
        QueueSample(queue=f"queue-{n}", at=now, depth=n, oldest_at=now) for n in range(queues)
    )
    Worker.objects.bulk_create(
        Worker(producer=str(n), name=f"worker@host-{n}", seen_at=now, slots=8, busy=n % 8)
        for n in range(workers)
    )
    jobs = {f"{t} {q}": _job(t, (t + q) % queues, workers) for t in range(tasks) for q in range(spread)}
    moved = Ledger({}, settings.METRICS_LABEL_SETS).count({}, jobs, time.time() - DAY)
    with written():
        store.write("series", [series_row(Cluster.DEFAULT_ID, key, tally) for key, tally in moved.items()])


def _job(task: int, queue: int, workers: int) -> Job:
    at, ended = time.time() - DAY, random.choice(["succeeded", "failed"])
    attempt = Attempt(0, 1, state=ended, worker=f"worker@host-{random.randrange(workers)}")
    attempt.published_at, attempt.received_at, attempt.started_at = at, at + 1, at + 2
    attempt.ended_at, attempt.run, attempt.exception = at + 4, 2.0, "KeyError('currency')"
    name = f"shop.orders.tasks.task_{task}"
    return Job("id", task=name, queue=f"queue-{queue}", published_at=at, attempts={(0, 1): attempt})


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
