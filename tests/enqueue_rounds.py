"""A developer's program: saves a row and enqueues a job about it, round by round, until something kills it.

    python -m tests.enqueue_rounds FIRST ROUNDS FILE

Each round commits, rolls back, or is killed: between the commit and the
publish, or at some moment while it publishes. The rows that are there tell
afterwards which jobs must have run.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import threading

import django

LONGEST_PUBLISH = 0.004


def main(first: int, rounds: int, file: str) -> None:
    for number in range(first, rounds):
        one_round(number, file)
    from workers.dispatch import dispatcher

    dispatcher.stop()


def one_round(number: int, file: str) -> None:
    from django.contrib.auth.models import User
    from django.db import transaction

    from tests import tasks
    from workers.enqueue import enqueue

    fate = random.Random(f"{number}").choices(
        ["commit", "roll back", "die before", "die while"], [60, 28, 6, 6]
    )[0]
    print(number, fate, flush=True)
    with transaction.atomic():
        User.objects.create(username=f"round-{number}")
        if fate == "die before":
            transaction.on_commit(die)
        enqueue(tasks.note, file, f"round-{number}")
        if fate == "die while":
            threading.Timer(random.uniform(0, LONGEST_PUBLISH), die).start()
        transaction.set_rollback(fate == "roll back")


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "dashboard.settings")
    django.setup()
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
