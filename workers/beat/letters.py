"""The message of a schedule's job, as Celery itself would make it."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from celery.exceptions import CeleryError
from django_celery_beat.models import PeriodicTask
from kombu.exceptions import KombuError

from jobs.outbox import Message
from jobs.ticks.plans import UNREADABLE
from workers.amqp import collecting
from workers.app import app
from workers.enqueuable import message_of

# What can be wrong with a schedule's job when it is made.
UNSENDABLE: tuple[type[Exception], ...] = (*UNREADABLE, CeleryError, KombuError)
# The due time that a job was sent for, in its message's headers.
DUE = "nightdesk_due"


def letter(schedule: PeriodicTask, due: datetime | None) -> Message:
    """A new job of this schedule, for the tick at `due`, or as somebody asked. Raises UNSENDABLE."""
    args, kwargs = json.loads(schedule.args or "[]"), json.loads(schedule.kwargs or "{}")
    if not isinstance(args, list) or not isinstance(kwargs, dict):
        raise ValueError("args are not a list, or kwargs not an object")
    task = app.tasks.get(schedule.task)
    with collecting() as caught:
        if task is None:
            app.send_task(schedule.task, args, kwargs, **_options(schedule, due))
        else:
            task.apply_async(tuple(args), kwargs, **_options(schedule, due))
    if len(caught) != 1:
        raise ValueError(f"{schedule.task} is {len(caught)} messages, not one")
    return message_of(caught[0])


def _options(schedule: PeriodicTask, due: datetime | None) -> dict[str, Any]:
    names = ("queue", "exchange", "routing_key", "priority")
    told = {name: getattr(schedule, name) for name in names}
    headers = json.loads(schedule.headers or "{}")
    headers |= {"periodic_task_name": schedule.name, "celery_beat_task": True}
    if due is not None:
        headers[DUE] = due.isoformat()
    expires = schedule.expires or schedule.expire_seconds
    options = {name: value for name, value in told.items() if value is not None and value != ""}
    return {**options, "headers": headers, **({"expires": expires} if expires else {})}
