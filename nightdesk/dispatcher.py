"""Celery's event dispatcher, with an ear at the place where events are made."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from celery.events.dispatcher import EventDispatcher
from celery.events.event import Event

# What Celery itself tells of a job.
JOB_EVENTS = frozenset({
    "task-received", "task-started", "task-succeeded", "task-failed",
    "task-retried", "task-revoked", "task-rejected", "task-cancelled",
})  # fmt: skip
GROUP = "task"


def recording_dispatcher(
    record: Callable[[dict[str, Any]], None], celery_events: bool
) -> type[EventDispatcher]:
    """A dispatcher class that hands each event it makes to `record`, and else does what Celery does.

    Celery makes an event only if it is enabled and its group is wanted, so
    what is recorded is what would be sent. `record` must not raise. Without
    `celery_events`, Celery's own events about jobs go to `record` alone;
    those of workers, which gossip needs, and a program's own are sent.
    """

    def make(type: str, _fields: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
        event: dict[str, Any] = Event(type, _fields, **fields)
        record(dict(event))
        return event

    class RecordingDispatcher(EventDispatcher):
        def send(self, type: str, *args: Any, **fields: Any) -> None:
            if celery_events or type not in JOB_EVENTS:
                super().send(type, *args, **{**fields, "Event": make})
            elif self.enabled and (not self.groups or GROUP in self.groups):
                record({"type": type, "timestamp": time.time(), "hostname": self.hostname, **fields})

    return RecordingDispatcher
