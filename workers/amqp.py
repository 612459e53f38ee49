"""Celery's message sender, which hands messages to whoever collects them instead of the broker.

Everything that Celery publishes, canvases included, comes through
`send_task_message`. `collecting()` catches it there, so that what `enqueue`
stores is what Celery would have sent, made by Celery itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from celery.app import amqp
from kombu.utils.objects import cached_property

DIRECT = ("", None)


@dataclass
class Caught:
    """A message that Celery would have published."""

    task: str
    queue: str
    headers: dict[str, Any]
    properties: dict[str, Any]
    body: tuple[Any, ...]


_caught: ContextVar[list[Caught] | None] = ContextVar("caught", default=None)


@contextmanager
def collecting() -> Iterator[list[Caught]]:
    """Publish nothing in here; the list fills with what would have been published."""
    caught: list[Caught] = []
    token = _caught.set(caught)
    try:
        yield caught
    finally:
        _caught.reset(token)


class AMQP(amqp.AMQP):
    """Celery's own, with an ear at its end."""

    @cached_property
    def send_task_message(self) -> Callable[..., Any]:
        publish = self._create_task_sender()  # type: ignore[attr-defined]

        def send(producer: Any, name: str, message: Any, **options: Any) -> Any:
            caught = _caught.get()
            if caught is None:
                return publish(producer, name, message, **options)
            caught.append(self._caught(name, message, **options))
            return None

        return send

    def _caught(
        self,
        name: str,
        message: Any,
        exchange: Any = None,
        routing_key: str | None = None,
        queue: Any = None,
        serializer: str | None = None,
        headers: dict[str, Any] | None = None,
        compression: str | None = None,
        **more: Any,
    ) -> Caught:
        """Raises ValueError for what an outbox can't hold: another serializer, or an exchange that routes."""
        if (serializer or self.app.conf.task_serializer) != "json" or compression:
            raise ValueError(f"{name} is not sent as plain JSON; publish it with .delay()")
        queue = self.queues[queue] if isinstance(queue, str) else queue
        if exchange not in DIRECT or (queue is not None and queue.exchange.type != "direct"):
            raise ValueError(f"{name} goes through an exchange that routes; publish it with .delay()")
        properties = {**message.properties, **{key: more[key] for key in more if key in PROPERTIES}}
        if properties.get("priority") is None:
            properties["priority"] = self.app.conf.task_default_priority
        name_of_queue = queue.name if queue is not None else routing_key or self.default_queue.name
        return Caught(name, name_of_queue, {**message.headers, **(headers or {})}, properties, message.body)


# What Celery's options hold beside them is about how to publish: retries, timeouts, declarations.
PROPERTIES = frozenset({"priority", "expiration", "reply_to", "correlation_id", "message_id", "user_id"})
