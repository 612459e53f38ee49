"""Publishes what the outbox holds: each message once, whoever dies or freezes in between.

Redis keeps a mark for each message, set by the script that pushes it
(`workers.brokers.transport`): a second publish of the same one does nothing.
RabbitMQ confirms each one (`workers.brokers.amqp_transport`), and takes a
second one, too; the claim of its job makes one effect of both.
"""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import kombu
import structlog
from amqp.exceptions import ChannelError
from celery import signals
from kombu.exceptions import KombuError

from jobs import outbox
from jobs.models import Outgoing
from nightdesk.messages import STAMP
from nightdesk.recorder import installed
from workers.app import app
from workers.brokers import BrokerUnreachable, transport
from workers.brokers.transport import ONCE

logger = structlog.get_logger(__name__)

MOST = 500
# Among the properties of a row whose body is no job's, but any bytes (base64): their type and encoding.
RAW = "nightdesk_raw"
# What is wrong with a row, and stays wrong however often it is tried.
OF_THE_ROW = (ValueError, TypeError, KeyError, AttributeError)
# What a protocol says of a message that it can't carry, such as a header beyond 64 bits in AMQP.
OF_THE_MESSAGE = (ValueError, TypeError, LookupError, ArithmeticError, RecursionError, struct.error)
# How long a silent RabbitMQ is waited for, in seconds.
PATIENCE = {"read_timeout": 10, "write_timeout": 10}


def once(task_id: str, headers: Mapping[str, Any]) -> str:
    """What the broker takes once: a retry keeps the id of its job."""
    later = [headers.get(name) or 0 for name in ("replaced_task_nesting", "retries")]
    return f"{task_id}:{later[0]}:{later[1]}" if any(later) else task_id


@dataclass
class Letter:
    """A row, read: what Celery would have at this point. `body` is empty where it is no job to us."""

    row: Outgoing
    body: tuple[Any, ...]
    headers: dict[str, Any]
    properties: dict[str, Any]
    sent: str | bytes
    content_type: str = "application/json"
    content_encoding: str = "utf-8"

    @classmethod
    def of(cls, row: Outgoing) -> Letter:
        """Raises ValueError if the row doesn't hold a message."""
        headers, properties = json.loads(row.headers), json.loads(row.properties)
        if row.priority is not None:
            properties["priority"] = row.priority
        kind = properties.pop(RAW, None)
        if kind is None:
            return cls._of_a_job(row, headers, properties)
        sent = base64.b64decode(row.body, validate=True)
        return cls(row, (), {**headers, ONCE: row.task_id}, properties, sent, *kind)

    @classmethod
    def _of_a_job(cls, row: Outgoing, headers: dict[str, Any], properties: dict[str, Any]) -> Letter:
        body = json.loads(row.body)
        if not (isinstance(body, list) and len(body) == 3 and headers.get("id") == row.task_id):
            raise ValueError("not a message of Celery's second protocol")
        # It waits since it was asked for, not since somebody got round to publishing it.
        headers.setdefault(STAMP, {"id": row.task_id, "first": row.created_at.timestamp()})
        headers[ONCE] = once(row.task_id, headers)
        return cls(row, tuple(body), headers, properties, row.body)

    @property
    def is_a_job(self) -> bool:
        """Whether Celery's signals are to tell of it."""
        return bool(self.body)

    @property
    def once(self) -> str:
        """What the broker takes once."""
        return once(self.row.task_id, self.headers) if self.is_a_job else self.row.task_id


class Publisher:
    """Publishes over a connection of its own, made when it is first needed. For one thread."""

    def __init__(self) -> None:
        self._connection: kombu.Connection | None = None
        self._producer: Any = None

    def publish_due(self, most: int = MOST) -> int:
        """Publish up to `most` of what is due; how many rows were taken in hand.

        Raises BrokerUnreachable; then everything stays as it was.
        """
        rows = outbox.claim(datetime.now(UTC), most)
        if rows:
            self.publish(rows)
        return len(rows)

    def publish(self, rows: Sequence[Outgoing]) -> None:
        """Publish rows that are in our hand. Raises BrokerUnreachable, having let go of them."""
        letters = _readable(rows)
        try:
            sent = self._send(letters)
        except self._away() as fault:
            self._drop()
            outbox.release([letter.row for letter in letters])
            raise BrokerUnreachable(f"{type(fault).__name__}: {fault}") from fault
        outbox.published([letter.row for letter in sent])
        self._settle(sent)

    def _settle(self, letters: Sequence[Letter]) -> None:
        """Let the marks of what is published go in a while; left alone they go later."""
        channel = getattr(self._producer, "channel", None)
        if letters and isinstance(channel, transport.Channel):
            try:
                channel.settled([letter.once for letter in letters])
            except self._away() as fault:
                logger.info("marks of published messages stay for longer: %s", fault)

    def _send(self, letters: Sequence[Letter]) -> list[Letter]:
        """Those that the broker has taken; those that it never will are put off."""
        letters = self._with_queues(letters)
        if not letters:
            return []
        producer = self._open()
        with producer.batch(max_size=MOST):
            sent = [letter for letter in letters if _could_publish(producer, letter)]
        for letter in sent:
            if letter.is_a_job:
                signals.after_task_publish.send(**_told(letter))
        return sent

    def _with_queues(self, letters: Sequence[Letter]) -> list[Letter]:
        """Those whose queue is there, before anything is published.

        RabbitMQ refuses a queue that it knows with other arguments, and closes the channel.
        """
        refused: dict[str, Exception] = {}
        for queue in sorted({letter.row.queue for letter in letters}):
            try:
                self._open().maybe_declare(app.amqp.queues[queue])
            except (ChannelError, *OF_THE_MESSAGE) as fault:
                refused[queue] = fault
                self.close()
        for letter in letters:
            if letter.row.queue in refused:
                _put_off(letter.row, refused[letter.row.queue])
        return [letter for letter in letters if letter.row.queue not in refused]

    def _open(self) -> Any:
        if self._producer is None:
            self._connection = app.connection_for_write(transport_options=PATIENCE)
            self._producer = app.amqp.Producer(self._connection, auto_declare=False)
        return self._producer

    def _away(self) -> tuple[type[BaseException], ...]:
        """The faults that are the broker's."""
        known = (KombuError, OSError)
        connection = self._connection
        return (
            known
            if connection is None
            else (*known, *connection.connection_errors, *connection.channel_errors)
        )

    def close(self) -> None:
        """End the connection; the next publish makes another one."""
        if (connection := self._taken_out()) is not None:
            connection.release()

    def _drop(self) -> None:
        """The same without a word to a broker that may not answer."""
        if (connection := self._taken_out()) is not None:
            connection.collect()

    def _taken_out(self) -> kombu.Connection | None:
        connection, self._connection, self._producer = self._connection, None, None
        return connection


def _readable(rows: Sequence[Outgoing]) -> list[Letter]:
    """Those that hold a message; the others are put off, with the reason."""
    letters = []
    for row in rows:
        try:
            letters.append(Letter.of(row))
        except OF_THE_ROW as fault:
            _put_off(row, fault)
    return letters


def _put_off(row: Outgoing, fault: Exception) -> None:
    logger.warning("a row of the outbox can't be published: %s", fault, row=row.pk)
    outbox.postpone(row, f"{type(fault).__name__}: {fault}", datetime.now(UTC))


def _told(letter: Letter) -> dict[str, Any]:
    """What Celery tells in its signals about publishing."""
    row = letter.row
    return {
        "sender": row.task,
        "body": letter.body,
        "headers": letter.headers,
        "exchange": "",
        "routing_key": row.queue,
    }


def _could_publish(producer: Any, letter: Letter) -> bool:
    """Whether it is on its way; what can't be is put off, and nothing of it was sent."""
    try:
        _publish(producer, letter)
    except OF_THE_MESSAGE as fault:
        _put_off(letter.row, fault)
        return False
    return True


def _publish(producer: Any, letter: Letter) -> None:
    declare = [app.amqp.queues[letter.row.queue]]
    if letter.is_a_job:
        signals.before_task_publish.send(
            **_told(letter), declare=declare, properties=letter.properties, retry_policy=None
        )
    producer.publish(
        letter.sent,
        content_type=letter.content_type,
        content_encoding=letter.content_encoding,
        exchange="",
        routing_key=letter.row.queue,
        declare=declare,
        headers=letter.headers,
        mandatory=True,  # a queue that was deleted meanwhile doesn't swallow it
        **letter.properties,
    )


def tell_waiting(rows: Sequence[Outgoing]) -> None:
    """Have the record know of jobs that are published only when they are due."""
    recorder = installed()
    for letter in _readable(rows):
        if recorder is not None and letter.is_a_job:
            headers = letter.headers
            headers[STAMP] = {
                **headers[STAMP],
                "at": letter.row.created_at.timestamp(),
                "queue": letter.row.queue,
                "priority": letter.row.priority,
                "release": recorder.options.release,
            }
            recorder.record_sent(headers=headers, body=letter.body, routing_key=letter.row.queue)
    outbox.told(rows)
