"""What a message tells of its job: pure, for both of Celery's task protocols."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

STAMP = "nightdesk"
# Which delivery of its message a request is: for the pool's process, never for another message.
DELIVERY = "nightdesk_delivery"
# The job whose second life a message is.
RETRY_OF = "nightdesk_retry_of"

Told = Mapping[str, Any]


def header_of(headers: Told, body: Any) -> Told:
    """Where a message being published keeps id, task, retries, eta: protocol 1 has them in its body."""
    return body if isinstance(body, dict) and "task" in body else headers


def carried_by(body: Any) -> tuple[Any, Any, Any]:
    """Arguments, keyword arguments and what is to follow, of a message being published."""
    if not isinstance(body, dict):
        args, kwargs, embed = body
        return args, kwargs, embed or {}
    embed = {name: body.get(name) for name in ("callbacks", "errbacks", "chord")}
    return body.get("args") or (), body.get("kwargs") or {}, {**embed, "chain": None}


def stamp_of(request_dict: Told) -> Told | None:
    """The stamp of a message received; protocol 1 keeps its headers apart."""
    stamp = request_dict.get(STAMP)
    if stamp is None and isinstance(headers := request_dict.get("headers"), dict):
        stamp = headers.get(STAMP)
    return stamp if isinstance(stamp, dict) else None


def first_published(before: Any, header: Told, now: float | None) -> float | None:
    """When a job that is published `now` was published first; `before` is the stamp its message has, if any.

    None if it isn't known: a retry whose first publish nobody has stamped.
    """
    if isinstance(before, dict) and before.get("id") == header.get("id"):
        first: float | None = before.get("first")
        return first
    return None if header.get("retries") else now


def stamped(stamp: Told) -> dict[str, Any]:
    """Fields of an event, from a stamp."""
    return {
        "published": stamp.get("at"),
        "first_published": stamp.get("first"),
        "queue": stamp.get("queue"),
        "priority": stamp.get("priority"),
        "release": stamp.get("release"),
    }


def lineage(header: Told) -> dict[str, Any]:
    """Fields of an event: where a job comes from."""
    return {
        "root_id": header.get("root_id"),
        "parent_id": header.get("parent_id"),
        "group": header.get("group"),
        "schedule": header.get("periodic_task_name"),
        "retry_of": header.get(RETRY_OF),
        "origin": header.get("origin"),
    }


def queue_name(declare: Any, routing_key: str) -> str:
    """The queue that Celery resolved, where it tells; else the routing key."""
    return declare[0].name if declare else routing_key
