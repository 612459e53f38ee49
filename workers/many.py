"""Many messages of one task: Celery makes the first one, the others differ from it in id and arguments."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from celery.app.task import Task
from celery.utils.saferepr import saferepr
from kombu.utils.uuid import uuid

from workers.amqp import Caught
from workers.app import router

LONGEST_REPR = 1024

Arguments = tuple[tuple[Any, ...], dict[str, Any]]


def caught_many(
    task: Any, calls: Iterable[Arguments], make: Callable[[tuple[Any, ...], dict[str, Any]], Caught]
) -> Iterator[Caught]:
    """A message for each of `calls`; `make` asks Celery for one. Raises TypeError for wrong arguments."""
    first: Caught | None = None
    for args, kwargs in calls:
        if first is None or not _is_plain(task):
            first = make(args, kwargs)
            yield first
        else:
            task.__header__(*args, **kwargs)
            yield _like(first, args, kwargs)


def _is_plain(task: Any) -> bool:
    """Whether nothing else of a message depends on the arguments."""
    named = type(task).shadow_name is not Task.shadow_name
    plain = task.typing and not named and getattr(task, "_dump_pydantic_arguments", None) is None
    return bool(plain and not router.asks(task.name))


def _like(first: Caught, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Caught:
    task_id = uuid()
    headers = {**first.headers, "id": task_id, "argsrepr": _shown(args), "kwargsrepr": _shown(kwargs)}
    if first.headers["root_id"] == first.headers["id"]:
        headers["root_id"] = task_id
    properties = {**first.properties, "correlation_id": task_id}
    return Caught(first.task, first.queue, headers, properties, (args, kwargs, first.body[2]))


def _shown(value: Any) -> str:
    """Celery's own, which is dear, only where it makes a difference."""
    text = repr(value)
    return text if len(text) <= LONGEST_REPR else str(saferepr(value, LONGEST_REPR))
