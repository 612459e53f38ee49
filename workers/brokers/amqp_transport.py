"""kombu's RabbitMQ transport, with what an outbox needs: confirms for many messages at once, and a stable id.

A message counts as published when RabbitMQ has confirmed it. kombu waits for
each confirm before it sends the next message; within a batch of a producer
this one sends them all, and then waits for all confirms.

A message whose header ONCE names it has that as its `message_id`, the same
however often it is published. RabbitMQ itself takes both; the claim of the
job (`workers.effects`) makes one effect of them.
"""

from __future__ import annotations

import time
from typing import Any, ClassVar

import amqp
from amqp.exceptions import MessageNacked, RecoverableConnectionError
from kombu import transport
from kombu.transport import pyamqp

from workers.brokers.transport import ONCE

ALIASES = ("amqp", "amqps", "pyamqp")
SOON = 0.001


class Channel(pyamqp.Channel):
    """A channel that knows which of its messages are not confirmed yet, by their number from 1.

    `PATIENCE` is how long RabbitMQ may take to confirm, in seconds: one that
    is short of memory or disk doesn't, and doesn't say so.
    """

    PATIENCE: ClassVar[float] = 10.0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._last_tag = 0
        self._unconfirmed: set[int] = set()
        self._refused = False
        events: Any = self.events  # type: ignore[attr-defined]
        events["basic_ack"].add(self._confirmed)
        events["basic_nack"].add(self._nacked)

    def prepare_message(
        self,
        body: Any,
        priority: int | None = None,
        content_type: str | None = None,
        content_encoding: str | None = None,
        headers: dict[str, Any] | None = None,
        properties: dict[str, Any] | None = None,
        _Message: Any = amqp.Message,  # noqa: N803 kombu's name
    ) -> Any:
        headers = dict(headers or {})
        if once := headers.pop(ONCE, None):  # a retry must not inherit it
            properties = {**(properties or {}), "message_id": once}
        return super().prepare_message(
            body, priority, content_type, content_encoding, headers, properties, _Message
        )

    def create_publish_batch(self, max_size: int) -> ConfirmedBatch:
        """What kombu asks for where a producer has a batch."""
        return ConfirmedBatch(self, max_size)

    def publish_unconfirmed(self, message: Any, **kwargs: Any) -> None:
        """Send it, and let `await_confirms` see what becomes of it."""
        if not self._confirm_selected:  # type: ignore[has-type]
            self._confirm_selected = True
            self.confirm_select()
        self._basic_publish(message, **kwargs)  # what can't be encoded raises, and gets no number
        self._unconfirmed.add(self._last_tag)

    def await_confirms(self) -> None:
        """Return once RabbitMQ has all that was sent.

        Raises TimeoutError if it doesn't say so, MessageNacked if it has not,
        the channel's error if no queue took a message, those of the connection if that is lost.
        """
        until = time.monotonic() + self.PATIENCE
        while self._unconfirmed:
            if self.connection is None:
                raise RecoverableConnectionError("the connection was lost before all was confirmed")
            try:
                self.connection.drain_events(timeout=max(until - time.monotonic(), SOON))
            except TimeoutError:
                raise TimeoutError(f"{len(self._unconfirmed)} messages were not confirmed in time") from None
        if self._refused:
            self._refused = False
            raise MessageNacked("the broker has refused a message")

    def _basic_publish(self, *args: Any, **kwargs: Any) -> Any:
        done = super()._basic_publish(*args, **kwargs)  # type: ignore[misc]
        if self._confirm_selected:
            self._last_tag += 1
        return done

    def _confirmed(self, tag: int, multiple: bool) -> None:
        self._unconfirmed = (
            {each for each in self._unconfirmed if each > tag} if multiple else self._unconfirmed - {tag}
        )

    def _nacked(self, tag: int, multiple: bool) -> None:
        self._refused = self._refused or bool(self._unconfirmed)
        self._confirmed(tag, multiple)


class ConfirmedBatch:
    """What a producer sends in one go, `max_size` messages without a confirm at most."""

    def __init__(self, channel: Channel, max_size: int) -> None:
        self.channel = channel
        self._max_size = max_size
        self._size = 0

    def publish(self, message: Any, confirm_timeout: float | None = None, **kwargs: Any) -> None:
        self.channel.publish_unconfirmed(message, **kwargs)
        self._size += 1
        if self._size >= self._max_size:
            self.flush()

    def flush(self) -> None:
        self._size = 0
        self.channel.await_confirms()

    def discard(self) -> None:
        """What was sent is sent."""

    def close(self) -> None:
        """There is nothing to give back."""


class Connection(pyamqp.Connection):
    """A connection with channels of ours."""

    Channel = Channel


class Transport(pyamqp.Transport):
    """RabbitMQ over TCP or TLS; a message that it refuses is tried again as one that did not arrive."""

    Connection = Connection
    connection_errors = (*pyamqp.Transport.connection_errors, MessageNacked)


def register() -> None:
    """Have amqp:// and amqps:// mean this transport in this process."""
    for alias in ALIASES:
        transport.TRANSPORT_ALIASES[alias] = f"{__name__}:Transport"
        transport._transport_cache.pop(alias, None)  # type: ignore[attr-defined]
