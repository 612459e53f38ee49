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
    tasks: TaskCounts = TaskCounts()


def worker_facts(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Columns of Worker: those of MOVING, and `setup` as JSON text; None where the event doesn't tell."""
    told = raw.get("setup")
    return {
        "events": _flag(raw.get("events")),
        **{name: values.count(raw.get(name)) for name in MOVING[1:]},
        "setup": orjson.dumps(_read(told)).decode() if isinstance(told, Mapping) else None,
    }


def setup_of(text: str | None) -> Setup | None:
    """The setup in a Worker's column; None if it was never told."""
    if text is None:
        return None
    told = orjson.loads(text)
    return Setup(**{**told, "tasks": TaskCounts(**told["tasks"])})


def _read(told: Mapping[str, Any]) -> dict[str, Any]:
    tasks = told.get("tasks")
    counts = tasks if isinstance(tasks, Mapping) else {}
    read = {name: _reader(name)(told.get(name)) for name in _names(Setup) if name != "tasks"}
    return {**read, "tasks": {name: _reader(name)(counts.get(name)) for name in _names(TaskCounts)}}


def _names(of: type[Setup] | type[TaskCounts]) -> list[str]:
    return [field.name for field in fields(of)]


def _reader(name: str) -> Callable[[Any], Any]:
    if name in ("visibility_timeout", "late_longest"):
        return values.duration
    if name == "requeues_lost":
        return _flag
    return values.count if name == "prefetch" or name in _names(TaskCounts) else _short


def _short(value: Any) -> str | None:
    return values.name(value, 64)


def _flag(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None
