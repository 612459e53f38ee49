"""What a worker tells of its setup, read from an event that may hold anything."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

import orjson

from jobs import values

# The facts that may move with each heartbeat; columns of Worker.
MOVING = ("events", "received", "unstamped", "faults", "dropped")


@dataclass(frozen=True)
class TaskCounts:
    """Counts of the tasks that a worker knows, without Celery's own; see `nightdesk.worker_facts.setup`."""

    total: int | None = None
    late: int | None = None
    late_unlimited: int | None = None
    late_longest: float | None = None
    ignored: int | None = None
    silent: int | None = None
    limited: int | None = None
    soft_limited: int | None = None


@dataclass(frozen=True)
class RabbitFacts:
    """What a worker knows of its RabbitMQ; see `nightdesk.rabbitmq.facts`."""

    version: str | None = None
    queues: int | None = None
    quorum: int | None = None
    classic: int | None = None
    prioritised: int | None = None
    transient: int | None = None
    overflowing: int | None = None
    consumer_timeout: float | None = None
    confirms: bool | None = None
    heartbeat: float | None = None


@dataclass(frozen=True)
class Setup:
    """How a worker is set up. None is "not told"; limits and timeouts are seconds."""

    recorder: str | None = None
    python: str | None = None
    celery: str | None = None
    kombu: str | None = None
    billiard: str | None = None
    redis: str | None = None
    pool: str | None = None
    prefetch: int | None = None
    transport: str | None = None
    visibility_timeout: float | None = None
    requeues_lost: bool | None = None
    pool_restarts: bool | None = None
    autoscale: bool | None = None
    rabbitmq: RabbitFacts | None = None
    tasks: TaskCounts = TaskCounts()


def worker_facts(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Columns of Worker: those of MOVING, `held`, and `setup` as JSON; None where the event doesn't tell."""
    told = raw.get("setup")
    return {
        "events": _flag(raw.get("events")),
        **{name: values.count(raw.get(name)) for name in MOVING[1:]},
        "held": values.names(raw.get("held")),
        "setup": orjson.dumps(_read(told)).decode() if isinstance(told, Mapping) else None,
    }


def setup_of(text: str | None) -> Setup | None:
    """The setup in a Worker's column; None if it was never told."""
    if text is None:
        return None
    told = orjson.loads(text)
    rabbit = told.get("rabbitmq")
    parts = {"rabbitmq": rabbit and RabbitFacts(**rabbit), "tasks": TaskCounts(**told["tasks"])}
    return Setup(**{**told, **parts})


def _read(told: Mapping[str, Any]) -> dict[str, Any]:
    rabbit, tasks = told.get("rabbitmq"), told.get("tasks")
    return {
        **_read_as(Setup, told),
        "rabbitmq": _read_as(RabbitFacts, rabbit) if isinstance(rabbit, Mapping) else None,
        "tasks": _read_as(TaskCounts, tasks if isinstance(tasks, Mapping) else {}),
    }


def _read_as(kind: type[Facts], told: Mapping[str, Any]) -> dict[str, Any]:
    """What is told of the fields of `kind`, each read as its type asks for; the rest is not told."""
    readers = {field.name: READERS.get(str(field.type)) for field in fields(kind)}
    return {name: read(told.get(name)) for name, read in readers.items() if read is not None}


def _short(value: Any) -> str | None:
    return values.name(value, 64)


def _flag(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


Facts = Setup | RabbitFacts | TaskCounts
READERS: Mapping[str, Callable[[Any], Any]] = {
    "str | None": _short,
    "int | None": values.count,
    "float | None": values.duration,
    "bool | None": _flag,
}
