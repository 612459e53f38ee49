"""RabbitMQ as a broker, asked over AMQP: its management, which could tell more, need not be there."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

import kombu
from amqp.exceptions import NotFound
from kombu.exceptions import KombuError

from jobs.servers import ServerFacts
from workers.brokers.broker import BrokerUnreachable, QueueDepth, Waiting

TIMEOUT = 2


class RabbitBroker:
    """Queues of RabbitMQ. It can't tell by AMQP how old a message is, nor how many are unacknowledged."""

    schemes: ClassVar[frozenset[str]] = frozenset({"amqp", "amqps"})

    def __init__(self, url: str) -> None:
        self._url = url
        self._connection: kombu.Connection | None = None

    def sample(self, queues: Sequence[str]) -> dict[str, QueueDepth]:
        with self._asking() as connection:
            return {queue: QueueDepth(_depth(connection, queue), None, None) for queue in queues}

    def unacked(self) -> int | None:
        return None

    def discover(self) -> set[str]:
        return set()

    def latency(self) -> float:
        began = time.monotonic()
        with self._asking() as connection, connection.channel():
            return time.monotonic() - began

    def describe(self) -> ServerFacts:
        """These are facts of a Redis: nothing of them is known."""
        return ServerFacts()

    def purge(
        self, queue: str, once: str, gone: Callable[[Sequence[Waiting]], None], *, begin: bool = True
    ) -> int | None:
        """Nothing is begun: by AMQP it could take what came later, or what it can't name."""
        return None

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.collect()

    @contextmanager
    def _asking(self) -> Iterator[Any]:
        try:
            yield self._open()
        except self._faults() as fault:
            self.close()
            raise BrokerUnreachable(f"{type(fault).__name__}: {fault}") from fault

    def _open(self) -> kombu.Connection:
        if self._connection is None:
            patience = {"read_timeout": TIMEOUT, "write_timeout": TIMEOUT}
            self._connection = kombu.Connection(
                self._url, connect_timeout=TIMEOUT, transport_options={**patience, "max_retries": 1}
            )
        self._connection.ensure_connection(max_retries=1, timeout=TIMEOUT)
        return self._connection

    def _faults(self) -> tuple[type[BaseException], ...]:
        connection = self._connection
        own = () if connection is None else (*connection.connection_errors, *connection.channel_errors)
        return (KombuError, OSError, *own)


def _depth(connection: Any, queue: str) -> int:
    """How many messages wait in a queue; 0 for one that is not there, which costs its channel."""
    channel = connection.channel()
    try:
        return int(channel.queue_declare(queue, passive=True).message_count)
    except NotFound:
        return 0
    finally:
        if channel.is_open:
            channel.close()
