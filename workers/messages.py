"""Messages as Celery's second protocol has them, made without asking a broker."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from celery.utils.saferepr import saferepr

from jobs.models import Job, Payload
from jobs.outbox import Message
from nightdesk.messages import RETRY_OF
from workers.app import app, router

ORIGIN = "nightdesk"
LONGEST_REPR = 1_024
NOTHING_FOLLOWS = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}


@dataclass(frozen=True)
class Wanted:
    """A job to be published: `body` is the exact text of its message's body.

    `root_id` is the workflow that it belongs to, else it is one of its own;
    `retry_of` is the job whose second life it is.
    """

    task_id: str
    task: str
    queue: str
    body: str
    priority: int | None = None
    eta: datetime | None = None
    root_id: str | None = None
    retry_of: str | None = None


def body_of(args: list[Any], kwargs: Mapping[str, Any], embed: Mapping[str, Any] | None = None) -> str:
    """A message's body as Celery's JSON has it."""
    return json.dumps([args, kwargs, {**NOTHING_FOLLOWS, **(embed or {})}], allow_nan=False)


def message_of(wanted: Wanted) -> Message:
    """The message by which this job is published; it belongs to no group and has no parent."""
    return Message(
        task_id=wanted.task_id,
        task=wanted.task,
        queue=wanted.queue,
        body=wanted.body,
        headers=_headers(wanted),
        properties={"correlation_id": wanted.task_id},
        priority=_priority(wanted),
        due_at=wanted.eta,
    )


def retry_message(job: Job, payload: Payload, new_id: str) -> Message:
    """The message of a new job that carries exactly what `job` carried, to the same queue.

    It belongs to no group and has no parent: a chord must not count it twice.
    """
    return message_of(
        Wanted(
            task_id=new_id,
            task=job.task or "",
            queue=job.queue or "",
            body=payload.body or "",
            priority=job.priority,
            root_id=job.root_id,
            retry_of=job.task_id,
        )
    )


def _priority(wanted: Wanted) -> int:
    """As wanted, else as the task has it, else as its route has it, else as all have it."""
    own = getattr(app.tasks.get(wanted.task), "priority", None)
    told = own if wanted.priority is None else wanted.priority
    if told is not None:
        return int(told)
    args, kwargs, _embed = json.loads(wanted.body)
    route = router(wanted.task, args, kwargs, {}) or {}
    return int(route.get("priority", app.conf.task_default_priority))


def _headers(wanted: Wanted) -> dict[str, Any]:
    args, kwargs, _embed = json.loads(wanted.body)
    task = app.tasks.get(wanted.task)
    headers: dict[str, Any] = {
        "lang": "py",
        "task": wanted.task,
        "id": wanted.task_id,
        "shadow": None,
        "eta": wanted.eta.isoformat() if wanted.eta else None,
        "expires": None,
        "group": None,
        "group_index": None,
        "retries": 0,
        "timelimit": [None, None],
        "root_id": wanted.root_id or wanted.task_id,
        "parent_id": None,
        "argsrepr": saferepr(args, LONGEST_REPR),
        "kwargsrepr": saferepr(kwargs, LONGEST_REPR),
        "origin": ORIGIN,
        "ignore_result": bool(task.ignore_result) if task else False,
        "replaced_task_nesting": 0,
        "stamped_headers": None,
        "stamps": {},
    }
    return headers if wanted.retry_of is None else {**headers, RETRY_OF: wanted.retry_of}
