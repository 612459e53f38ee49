"""Retries that the broker can't take now wait in the outbox."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from celery.exceptions import Reject, Retry
from celery.utils.time import maybe_make_aware
from django.db import connections, router
from kombu.utils.json import dumps

from jobs import outbox
from jobs.models import Outgoing
from jobs.outbox import Message
from workers.amqp import Caught, collecting
from workers.app import app
from workers.effects import AWAY, DATABASE_AWAY
from workers.putting_back import PutBack


def retry_by_outbox(retry: Callable[[], Retry]) -> Retry:
    """What `retry`, Celery's own, gives, with its message in the outbox.

    Raises PutBack where that can't be: the message at hand, which nobody has
    acknowledged, then runs this attempt again.
    """
    if connections[router.db_for_write(Outgoing)].in_atomic_block:  # which the retry is about to roll back
        raise PutBack("the broker is away", delay=DATABASE_AWAY)
    with collecting() as caught:
        try:
            told = retry()
        except Reject as fault:
            raise PutBack(f"no outbox either: {fault.args[0]}", delay=DATABASE_AWAY) from fault
    _store(caught[0])
    return told


def _store(caught: Caught) -> None:
    try:
        outbox.put_instead(_message(caught))
    except AWAY as fault:
        raise PutBack(f"neither broker nor database are there: {fault}", delay=DATABASE_AWAY) from fault


def _message(caught: Caught) -> Message:
    eta = caught.headers.get("eta")
    return Message(
        task_id=caught.headers["id"],
        task=caught.task,
        queue=caught.queue,
        body=dumps(caught.body),
        headers=caught.headers,
        properties={name: value for name, value in caught.properties.items() if name != "priority"},
        priority=caught.properties.get("priority"),
        due_at=None if eta is None else maybe_make_aware(datetime.fromisoformat(eta), app.timezone),
    )
