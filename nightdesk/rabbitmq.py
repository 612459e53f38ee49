"""What a worker knows of the RabbitMQ that it reads from, without asking anybody.

That is what it declares of its queues, what its own settings say, and what
the server told at the handshake. Policies and limits of the server are known
to its management alone: an argument that no queue declares may be set there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from celery import Celery

TRANSPORT = "amqp"
PERSISTENT = (2, "persistent")
CONSUMER_TIMEOUT = "x-consumer-timeout"


def facts(app: Celery, worker: Any) -> dict[str, Any]:
    """Counts of the queues it reads from, by what they declare; times are seconds, None is "not told".

    `consumer_timeout` is the shortest that is declared, `overflowing` are
    queues that throw away the oldest message when they are full.
    """
    queues = [(queue, _arguments(queue)) for queue in app.amqp.queues.consume_from.values()]
    types = [arguments.get("x-queue-type") for _, arguments in queues]
    timeouts = [
        arguments[CONSUMER_TIMEOUT] / 1000 for _, arguments in queues if arguments.get(CONSUMER_TIMEOUT)
    ]
    return {
        "version": _server_version(worker),
        "queues": len(queues),
        "quorum": types.count("quorum"),
        "classic": types.count("classic"),
        "prioritised": sum("x-max-priority" in arguments for _, arguments in queues),
        "transient": sum(not _is_kept(app, queue) for queue, _ in queues),
        "overflowing": sum(_overflows(arguments) for _, arguments in queues),
        "consumer_timeout": min(timeouts, default=None),
        "confirms": bool((app.conf.broker_transport_options or {}).get("confirm_publish")),
        "heartbeat": float(app.conf.broker_heartbeat) if app.conf.broker_heartbeat else None,
    }


def _arguments(queue: Any) -> dict[str, Any]:
    """The arguments that a queue is declared with, those that kombu has names of its own for among them."""
    named = {
        "x-max-priority": queue.max_priority,
        "x-max-length": queue.max_length,
        "x-max-length-bytes": queue.max_length_bytes,
    }
    known = {name: value for name, value in named.items() if value is not None}
    return {**known, **(queue.queue_arguments or {})}


def _is_kept(app: Celery, queue: Any) -> bool:
    """Whether what waits in it outlives a restart of the server: the queue must, and its messages."""
    mode = getattr(queue.exchange, "delivery_mode", None) or app.conf.task_default_delivery_mode
    return bool(queue.durable) and mode in PERSISTENT


def _overflows(arguments: Mapping[str, Any]) -> bool:
    limited = "x-max-length" in arguments or "x-max-length-bytes" in arguments
    return limited and not str(arguments.get("x-overflow", "")).startswith("reject-publish")


def _server_version(worker: Any) -> str | None:
    """As the server said when the worker's consumer connected to it."""
    connection = getattr(getattr(worker, "consumer", None), "connection", None)
    if connection is None or not connection.connected:
        return None
    told = getattr(connection.connection, "server_properties", None) or {}
    return str(told["version"]) if "version" in told else None
