"""A web process's share of enqueuing, timed in a process of its own.

usage: python -m benchmarks.enqueue_here MANY ONES
Says as JSON: seconds for MANY jobs by `enqueue_many`, for ONES by Celery one by one, and for each of ONES
transactions that save a row without and with an `enqueue`, turn by turn.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from functools import partial

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "dashboard.settings")

import django

django.setup()

from django.contrib.auth.models import Group
from django.db import transaction

from workers.enqueue import enqueue, enqueue_many
from workers.ready.cleanup import cleanup_expired
from workers.ready.emails import send_email

ARGUMENTS = ("ana@example.com", "Your order", "Thank you.")


def main(many: int, ones: int) -> None:
    enqueue(cleanup_expired)
    cleanup_expired.delay()
    for number in range(20):
        timed(partial(save, f"warm {number}", True))
    told = {
        "many": timed(lambda: enqueue_many(send_email, [ARGUMENTS] * many)),
        "celery": timed(lambda: [send_email.delay(*ARGUMENTS) for _ in range(ones)]),
    }
    time.sleep(5)  # what is to be published has been
    pairs = [[timed(partial(save, f"{n} {job}", job)) for job in (False, True)] for n in range(ones)]
    print(json.dumps({**told, "without": [one for one, _ in pairs], "with": [one for _, one in pairs]}))


def save(name: str, with_job: bool) -> None:
    with transaction.atomic():
        Group.objects.create(name=name)
        if with_job:
            enqueue(send_email, *ARGUMENTS)


def timed(do: Callable[[], object]) -> float:
    began = time.perf_counter()
    do()
    return time.perf_counter() - began


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
