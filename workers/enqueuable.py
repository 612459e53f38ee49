"""What can be enqueued: a task that is registered, arguments that JSON carries, a body under the cap."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from difflib import get_close_matches
from typing import Any

from django.conf import settings
from django.db import models
from kombu.utils import json

from jobs.outbox import Message
from workers.amqp import Caught
from workers.app import app
from workers.signatures import is_known

# Celery's own JSON, without a new encoder for each message.
ENCODER = json.JSONEncoder()


class EnqueueError(ValueError):
    """What was asked for can't be enqueued; the text says why, and what to do."""


def known_task(task: Any) -> Any:
    """The task itself. Raises EnqueueError for a name that nobody has registered."""
    name = task if isinstance(task, str) else getattr(task, "name", None)
    found = app.tasks.get(name) if isinstance(name, str) and is_known(name) else None
    if found is None:
        raise EnqueueError(f"there is no task {name or task!r}{nearest(str(name), app.tasks)}")
    return found


def nearest(name: str, known: Iterable[str]) -> str:
    """The end of a sentence about a name that nobody knows: which ones are like it."""
    near = get_close_matches(name, list(known), n=3)
    return f"; did you mean {' or '.join(near)}?" if near else ""


def fitting_body(caught: Caught) -> str:
    """The body of its message. Raises EnqueueError for what JSON can't carry, and for too much of it."""
    try:
        body = ENCODER.encode(caught.body)
    except (TypeError, ValueError) as fault:
        where = _unfit(caught.body[0], "args") or _unfit(caught.body[1], "kwargs") or "its callbacks"
        raise EnqueueError(f"{caught.task}: JSON can't carry {where}: {fault}") from fault
    if len(body) > settings.JOB_BODY_CAP:
        raise EnqueueError(
            f"{caught.task}: a body of {len(body):,} bytes is over JOB_BODY_CAP ({settings.JOB_BODY_CAP:,}); "
            "store what is large, and pass its id"
        )
    return body


def message_of(caught: Caught, due_at: datetime | None = None, *, told: bool = False) -> Message:
    """What the outbox is to hold of it. Raises EnqueueError, as `fitting_body`."""
    return Message(
        task_id=caught.headers["id"],
        task=caught.task,
        queue=caught.queue,
        body=fitting_body(caught),
        headers=caught.headers,
        properties={name: value for name, value in caught.properties.items() if name != "priority"},
        priority=caught.properties.get("priority"),
        due_at=due_at,
        told=told,
    )


def _unfit(value: Any, place: str) -> str | None:
    """The first place in `value` that JSON can't carry."""
    try:
        json.dumps(value)
    except (TypeError, ValueError):
        inner = (_unfit(part, f"{place}[{key!r}]") for key, part in _parts(value))
        hint = "; pass its primary key" if isinstance(value, models.Model) else ""
        return next(filter(None, inner), f"{place}, a {type(value).__name__}{hint}")
    return None


def _parts(value: Any) -> Iterable[tuple[Any, Any]]:
    if isinstance(value, dict):
        return value.items()
    return enumerate(value) if isinstance(value, list | tuple) else ()
