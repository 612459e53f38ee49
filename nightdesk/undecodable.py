"""Of messages that it can't decode Celery sends no signal: this step of a worker's consumer hears of them.

It also keeps from Celery what looks like a job and would end its worker, and
the next one to which the broker then gives it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID

from celery import bootsteps
from kombu.exceptions import KombuError

from nightdesk import recorder


class TellUndecodable(bootsteps.Step):
    """Tells the recorder before Celery drops such a message."""

    def __init__(self, consumer: Any, **options: Any) -> None:
        super().__init__(consumer, **options)
        celerys_own = consumer.on_decode_error
        celerys_handler = consumer.create_task_handler

        def on_decode_error(message: Any, exc: Exception) -> None:
            running = recorder.installed()
            if running is not None:
                running.tell_dropped(message=message, exc=exc)
            celerys_own(message, exc)

        def create_task_handler(*args: Any, **more: Any) -> Callable[[Any], None]:
            handle = celerys_handler(*args, **more)
            return lambda message: (
                consumer.on_unknown_message(None, message) if ends_a_worker(message) else handle(message)
            )

        consumer.on_decode_error = on_decode_error
        consumer.create_task_handler = create_task_handler


def ends_a_worker(message: Any) -> bool:
    """Whether Celery would take this for a job, and fail at making one: of its name, its id or its body."""
    headers = message.headers
    if not isinstance(headers, Mapping):
        return False  # which Celery sees
    try:
        body = message.payload
    except KombuError:
        body = []  # which Celery sees, once it has the job's name and id
    except (AttributeError, TypeError):  # its content type or encoding is no text
        return True
    told = _told(headers, body)
    if "task" not in headers and "task" not in told:
        return False  # which Celery sees, too
    return not (
        isinstance(told.get("task"), str)
        and isinstance(told.get("id"), str | UUID)
        and isinstance(body, dict | list | tuple | str)
    )


def _told(headers: Mapping[str, Any], body: Any) -> Mapping[str, Any]:
    """Where Celery looks for a job's name and id, in either protocol and in what is between them."""
    if isinstance(body, dict) and "args" in body:
        return {**body, **headers}
    return body if isinstance(body, dict) and "task" not in headers else headers
