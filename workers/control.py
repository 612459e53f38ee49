"""Remote control of workers: the only module that talks it.

A broker that is away is told within seconds (BrokerUnreachable), and nothing
is published a second time by itself.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, cast

import kombu
from celery import Celery
from celery.app.control import Control as RemoteControl
from kombu import Producer
from kombu.exceptions import KombuError

from workers.brokers import Broker, BrokerUnreachable
from workers.brokers import connect as connect_broker

# Celery's answers come within milliseconds, from workers that are not blocked.
PATIENCE = 1.0
LONGEST = 2.0
LONGEST_TEXT = 500
# For the connection of our own: fail soon, and never try again by itself.
TRANSPORT_OPTIONS = {"socket_timeout": LONGEST, "socket_connect_timeout": LONGEST, "max_retries": 1}


@dataclass(frozen=True)
class Answer:
    """What a worker said to a command."""

    ok: bool
    text: str


class _Enough(Exception):
    """The time for answers is over."""


class _OneTry(Producer):
    """Celery's control publishes until it succeeds, however long the broker is away."""

    def publish(self, body: Any, **options: Any) -> Any:  # type: ignore[override]
        return super().publish(body, **{**options, "retry": False})


class _OneProducer:
    """What kombu's mailbox takes for a pool."""

    def __init__(self, control: Control) -> None:
        self._control = control

    @contextmanager
    def acquire(self) -> Iterator[Producer]:
        yield _OneTry(self._control.connection.default_channel, auto_declare=False)


class Control:
    """Speaks to the workers of one broker, over a connection of its own. For one thread."""

    def __init__(self, app: Celery, broker_url: str) -> None:
        self._app = app
        self._url = broker_url
        self._broker: Broker | None = None
        self._connection: kombu.Connection | None = None
        self._remote = cast(Any, RemoteControl(app))
        self._remote.mailbox._producer_pool = _OneProducer(self)

    @property
    def connection(self) -> kombu.Connection:
        """Made when it is first needed."""
        if self._connection is None:
            self._connection = self._app.connection_for_write(transport_options=TRANSPORT_OPTIONS)
        return self._connection

    @property
    def broker(self) -> Broker:
        """The broker itself, which answers within two seconds or is unreachable."""
        if self._broker is None:
            self._broker = connect_broker(self._url)
        return self._broker

    def tell(
        self, method: str, arguments: Mapping[str, Any], workers: Sequence[str] | None
    ) -> dict[str, Answer]:
        """Give a command to these workers, or to all; what those said that answered in time."""
        return {name: answer_of(said) for name, said in self._broadcast(method, arguments, workers).items()}

    def cast(self, method: str, arguments: Mapping[str, Any], workers: Sequence[str] | None) -> None:
        """Give a command that nobody answers to these workers, or to all."""
        self._broadcast(method, arguments, workers, reply=False)

    def ask(
        self, question: str, arguments: Mapping[str, Any], workers: Sequence[str] | None
    ) -> dict[str, Any]:
        """What these workers, or all, say to a question, as they say it: it may be anything."""
        return self._broadcast(question, arguments, workers)

    def active_queues(self) -> dict[str, frozenset[str]]:
        """The queues that each worker reads, of those that answered in time."""
        said = self._broadcast("active_queues", {}, None)
        return {worker: frozenset(_names(queues)) for worker, queues in said.items()}

    def _broadcast(
        self,
        method: str,
        arguments: Mapping[str, Any],
        workers: Sequence[str] | None,
        *,
        reply: bool = True,
    ) -> dict[str, Any]:
        said: dict[str, Any] = {}
        until = time.monotonic() + LONGEST

        def hear(answer: dict[str, Any]) -> None:
            said.update(answer)
            if time.monotonic() > until:
                raise _Enough

        with self._asking():
            self.broker.latency()
            with suppress(_Enough):
                self._remote.broadcast(
                    method,
                    arguments=dict(arguments),
                    destination=None if workers is None else list(workers),
                    connection=self.connection,
                    reply=reply,
                    timeout=PATIENCE,
                    callback=hear,
                )
        return said

    @contextmanager
    def _asking(self) -> Iterator[None]:
        try:
            yield
        except BrokerUnreachable:
            self.close()
            raise
        except self._faults() as fault:
            self.close()
            raise BrokerUnreachable(f"{type(fault).__name__}: {fault}") from fault

    def _faults(self) -> tuple[type[BaseException], ...]:
        connection = self.connection
        return (KombuError, OSError, *connection.connection_errors, *connection.channel_errors)

    def close(self) -> None:
        """Drop the connection; the next command makes another one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.collect()


def answer_of(said: Any) -> Answer:
    """Celery's `{"ok": …}` or `{"error": …}`, as text that fits the record."""
    if isinstance(said, dict) and "error" in said:
        return Answer(False, str(said["error"])[:LONGEST_TEXT])
    text = said.get("ok", said) if isinstance(said, dict) else said
    return Answer(True, str(text)[:LONGEST_TEXT])


def _names(queues: Any) -> Iterator[str]:
    for queue in queues if isinstance(queues, list) else []:
        if isinstance(queue, dict) and isinstance(queue.get("name"), str):
            yield queue["name"]
