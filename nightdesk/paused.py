"""Queues that somebody has paused: a worker that starts must not read them, not even for a moment."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import redis
from celery import bootsteps
from redis.backoff import NoBackoff
from redis.retry import Retry

# A set of names, kept by the monitor in the Redis that holds the stream.
PAUSED = "nightdesk:paused"
TIMEOUT = 1.0
HELD = "nightdesk_held"


def step_of(read: Callable[[], set[str]], failed: Callable[[str, Exception], None]) -> type[Any]:
    """A step of a worker's consumer, between hearing remote control and taking messages.

    `read` gives the names of the paused queues; what it raises goes to `failed`,
    and the worker goes on: the monitor will tell it. It runs at each start of
    the consumer, so also when the broker comes back.
    """

    class StandStill(bootsteps.StartStopStep):
        requires = ("celery.worker.consumer.control:Control",)

        def include_if(self, c: Any) -> bool:
            # What can't be told to read on must not stand still.
            return bool(c.app.conf.worker_enable_remote_control)

        def start(self, c: Any) -> None:
            try:
                _hold(c, read())
            except Exception as fault:  # noqa: BLE001 watching never hurts a worker
                failed("hold_paused", fault)

    return StandStill


def _hold(consumer: Any, paused: set[str]) -> None:
    found = {queue.name for queue in consumer.task_consumer.queues} & paused
    for queue in found:
        consumer.cancel_task_queue(queue)
    setattr(consumer, HELD, getattr(consumer, HELD, frozenset()) | found)


def held_by(consumer: Any) -> set[str]:
    """The queues that this worker found paused and does not read since."""
    held: frozenset[str] = getattr(consumer, HELD, frozenset())
    return set(held - {queue.name for queue in _read_by(consumer)}) if held else set()


def _read_by(consumer: Any) -> Any:
    return consumer.task_consumer.queues if consumer.task_consumer else ()


def read_paused(url: str) -> set[str]:
    """The names of the paused queues. Raises redis.RedisError within seconds."""
    client = redis.Redis.from_url(
        url, socket_timeout=TIMEOUT, socket_connect_timeout=TIMEOUT, retry=Retry(NoBackoff(), 0)
    )
    try:
        found: Any = client.smembers(PAUSED)
        return {name.decode(errors="replace") for name in found}
    finally:
        client.close()
