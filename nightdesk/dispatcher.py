"""Celery's event dispatcher, with an ear at the place where events are made."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from celery.events.dispatcher import EventDispatcher
from celery.events.event import Event


def recording_dispatcher(record: Callable[[dict[str, Any]], None]) -> type[EventDispatcher]:
    """A dispatcher class that hands each event it makes to `record`, and else does what Celery does.

    Celery makes an event only if it is enabled and its group is wanted, so
    what is recorded is what would be sent. `record` must not raise.
    """

    def make(type: str, _fields: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
        event: dict[str, Any] = Event(type, _fields, **fields)
        record(event)
        return event

    class RecordingDispatcher(EventDispatcher):
        def send(self, type: str, *args: Any, **fields: Any) -> None:
            super().send(type, *args, **{**fields, "Event": make})

    return RecordingDispatcher
