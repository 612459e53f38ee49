"""What people do while the record is written, in a process of its own, as a web process does it.

usage: python -m benchmarks.act prepare BULK OPEN   (BULK jobs that failed, and OPEN jobs that wait)
       python -m benchmarks.act at RATE BULK_RATE   (retry all that failed, BULK_RATE a second, and revoke
                                                     what waits, RATE a second)
Says for each revocation, in a line: the moment at which it was done, and how long it took (seconds).
"""

from __future__ import annotations

import os
import sys
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "dashboard.settings")

import django

django.setup()

from django.contrib.auth.models import User

from jobs.models import Bulk, Job, Payload, Standing
from jobs.perform import Actor, perform
from workers.bulk.gathering import gather
from workers.commands.bulk import BulkPreview, BulkStart
from workers.commands.jobs import Revoke

NAME = "busy"
BODY = '[[7], {}, {"callbacks": null, "errbacks": null, "chain": null, "chord": null}]'
AT_ONCE = 1_000
THREADS = 8
# Few enough that a queue which nobody serves is no burden to Redis.
QUEUE = "retried"


def prepare(failed: int, waiting: int) -> None:
    """Fill the record."""
    User.objects.create_superuser(NAME)
    _make(failed, "failed")
    _make(waiting, "queued")


def _make(count: int, state: str) -> None:
    now = datetime.now(UTC)
    for first in range(0, count, AT_ONCE):
        numbers = range(first, min(first + AT_ONCE, count))
        facts = {"state": state, "task": "shop.pay", "queue": QUEUE}
        jobs = Job.objects.bulk_create(
            Job(task_id=f"{state}-{n}", seen_at=now, priority=5, **facts) for n in numbers
        )
        Payload.objects.bulk_create(Payload(job=job, body=BODY) for job in jobs)
        Standing.objects.bulk_create(Standing(job=job, **facts) for job in jobs)


def act(rate: float, bulk_rate: float) -> None:
    """Begin a bulk, and act, as many at a time as a web process has threads, until there is nothing left."""
    user = User.objects.get(username=NAME)
    by = Actor(user, "api")
    open_jobs = Standing.objects.filter(state="queued", queue=QUEUE).order_by("job_id")
    task_ids = list(open_jobs.values_list("job__task_id", flat=True))
    _begin_a_bulk(by, user, bulk_rate)
    began, waiting = time.time(), threading.Semaphore(THREADS)

    def finished(one: Future[None]) -> None:
        waiting.release()
        one.result()  # a fault is shown

    with ThreadPoolExecutor(THREADS) as pool:
        for number, task_id in enumerate(task_ids):
            time.sleep(max(0.0, began + number / rate - time.time()))
            waiting.acquire()
            pool.submit(_revoke, by, task_id).add_done_callback(finished)


def _revoke(by: Actor, task_id: str) -> None:
    before = time.monotonic()
    done = perform(by, Revoke(task_id))
    took = time.monotonic() - before
    refusal = "" if done.refusal is None else f" {done.refusal}"
    print(f"{time.time()!r} {took!r}{refusal}\n", end="", flush=True)


def _begin_a_bulk(by: Actor, user: User, rate: float) -> None:
    bulk = Bulk.objects.get(asked=perform(by, BulkPreview("retry", state="failed")))
    while bulk.frozen_at is None:
        bulk = gather(bulk, user)
    begun = perform(by, BulkStart(bulk.pk, rate, confirm=bulk.eligible), reason="to see the cost")
    assert begun.refusal is None, begun.detail


if __name__ == "__main__":
    if sys.argv[1] == "prepare":
        prepare(int(sys.argv[2]), int(sys.argv[3]))
    else:
        act(float(sys.argv[2]), float(sys.argv[3]))
