"""A Django process that enqueues, one way and the other in turns.

usage: python -m benchmarks.enqueuer many ROUNDS JOBS SINGLE   (by enqueue_many, and SINGLE by `delay`)
       python -m benchmarks.enqueuer one REQUESTS             (a write with a job beside it, and one without)
Says for each round a line of JSON: seconds by name.
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

from benchmarks.own_app import nothing
from jobs.models import Outgoing
from workers.enqueue import enqueue, enqueue_many

# Between two requests: that of a web process which is not at its limit.
PAUSE = 0.02
GLANCE = 0.002


# Does something, and says in seconds what it took.
Way = Callable[[], dict[str, float]]


def many(rounds: int, jobs: int, single: int) -> None:
    """What a round took each way; `published` ends when the broker has all of the jobs."""
    _warm()
    for number in range(rounds):
        took: dict[str, float] = {}
        for way in _in_turns(number, [partial(_many, jobs), partial(_delay, single)]):
            took.update(way())
        print(json.dumps(took), flush=True)


def _in_turns(number: int, ways: list[Way]) -> list[Way]:
    """Who is first changes from round to round."""
    return ways if number % 2 else ways[::-1]


def _many(jobs: int) -> dict[str, float]:
    began = time.monotonic()
    enqueue_many(nothing, ([number] for number in range(jobs)))
    committed = time.monotonic() - began
    _wait_for_broker()
    return {"committed": committed, "published": time.monotonic() - began}


def _delay(jobs: int) -> dict[str, float]:
    began = time.monotonic()
    for number in range(jobs):
        nothing.delay(number)
    return {"delay": time.monotonic() - began}


def one(requests: int) -> None:
    """What a request's transaction took, with a job and without."""
    _warm()
    for number in range(requests):
        took: dict[str, float] = {}
        for way in _in_turns(number, [partial(_write, number, job=job) for job in (True, False)]):
            took.update(way())
            time.sleep(PAUSE)
        print(json.dumps(took), flush=True)


def _write(number: int, *, job: bool) -> dict[str, float]:
    began = time.monotonic()
    with transaction.atomic():
        Group.objects.create(name=f"{number} {job}")
        if job:
            enqueue(nothing, number)
    return {"with" if job else "without": time.monotonic() - began}


def _warm() -> None:
    """Connections are made, and modules are loaded."""
    enqueue(nothing, 0)
    nothing.delay(0)
    _wait_for_broker()


def _wait_for_broker() -> None:
    while Outgoing.objects.exists():
        time.sleep(GLANCE)


def main(way: str, *numbers: str) -> None:
    if way == "many":
        rounds, jobs, single = map(int, numbers)
        many(rounds, jobs, single)
    else:
        one(int(numbers[0]))


if __name__ == "__main__":
    main(*sys.argv[1:])
