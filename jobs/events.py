"""A Celery event dict becomes a typed event; anything odd raises Odd, to be quarantined and counted.

Nothing from outside is trusted here: texts are made storable (no NUL, no lone
surrogates) and capped, numbers are checked for range, times are brought to the
stream's clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

Raw = Mapping[str, Any]

NAME_LENGTH = 255
EXCEPTION_LENGTH = 500
TEXT_LENGTH = 100_000
FIRST_TIME, LAST_TIME = 946_684_800.0, 4_102_444_800.0  # the years 2000 to 2100
LONGEST = LAST_TIME - FIRST_TIME

JOB_KINDS = {
    "task-sent": "sent",
    "task-received": "received",
    "task-started": "started",
    "task-succeeded": "succeeded",
    "task-failed": "failed",
    "task-retried": "retried",
    "task-revoked": "revoked",
    "task-rejected": "rejected",
    "task-cancelled": "requeued",
    "job-progress": "progress",
}
WORKER_KINDS = {"worker-online": "online", "worker-heartbeat": "heartbeat", "worker-offline": "offline"}
# A recorder writes it in the place of an event that it could not make.
FAULT = "recorder-fault"


class Odd(ValueError):
    """An event that can't be read; the message is a short reason, good to count by."""


@dataclass(frozen=True, slots=True)
class JobEvent:
    """Something that happened to a job. `at` is seconds by the stream's clock.

    `retries` is None where the event doesn't tell. `delivery` is 0 where no
    receipt is known. `facts` holds what else it tells, under the names of
    `jobs.lifecycle`; absent means not told.
    """

    kind: str
    task_id: str
    at: float
    retries: int | None = None
    delivery: int = 0
    worker: str | None = None
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class WorkerEvent:
    """A sign of life of a worker process."""

    kind: str
    at: float
    name: str
    facts: dict[str, Any] = field(default_factory=dict)


def parse(raw: Any, offset: float) -> JobEvent | WorkerEvent | None:
    """Read one event; None if it is of a kind that the record doesn't keep. Raises Odd."""
    if not isinstance(raw, dict):
        raise Odd("not an object")
    kind = raw.get("type")
    if not isinstance(kind, str):
        raise Odd("no type")
    if kind in JOB_KINDS:
        return _job_event(JOB_KINDS[kind], raw, offset)
    if kind in WORKER_KINDS:
        return _worker_event(WORKER_KINDS[kind], raw, offset)
    if kind == FAULT:
        raise Odd("the recorder failed")
    return None


def _job_event(kind: str, raw: Raw, offset: float) -> JobEvent:
    at = _time(raw.get("timestamp"), offset)
    if at is None:
        raise Odd("no time")
    if kind == "rejected" and raw.get("requeue"):
        kind = "requeued"
    return JobEvent(
        kind=kind,
        task_id=_task_id(raw.get("uuid")),
        at=at,
        retries=_count(raw.get("retries")),
        delivery=_count(raw.get("delivery")) or 0,
        worker=None if kind == "sent" else name(raw.get("hostname")),
        facts=_READERS[kind](raw),
    )


def _worker_event(kind: str, raw: Raw, offset: float) -> WorkerEvent:
    at, hostname = _time(raw.get("timestamp"), offset), name(raw.get("hostname"))
    if at is None or hostname is None:
        raise Odd("no time or no host")
    load = raw.get("loadavg")
    facts = {
        "pid": _count(raw.get("pid")),
        "busy": _count(raw.get("active")),
        "processed": _count(raw.get("processed")),
        "slots": _count(raw.get("slots")),
        "freq": _number(raw.get("freq")),
        "load": _number(load[0]) if isinstance(load, list) and load else None,
        "version": name(raw.get("sw_ver"), 64),
        "release": name(raw.get("release"), 64),
        "queues": _names(raw.get("queues")),
    }
    return WorkerEvent(kind=kind, at=at, name=hostname, facts=_told(facts))


def _common(raw: Raw) -> dict[str, Any]:
    """What both the publish and the receipt tell of a job."""
    return {
        "task": name(raw.get("name")),
        "queue": name(raw.get("queue")),
        "priority": _priority(raw.get("priority")),
        "published_at": _time(raw.get("published")),
        "first_published_at": _time(raw.get("first_published")),
        "eta": _moment(raw.get("eta")),
        "expires_at": _moment(raw.get("expires")),
        "root_id": name(raw.get("root_id")),
        # Celery makes a job the parent of its own retries.
        "parent_id": None if raw.get("parent_id") == raw.get("uuid") else name(raw.get("parent_id")),
        "group_id": name(raw.get("group")),
        "retry_of": name(raw.get("retry_of")),
        "schedule": name(raw.get("schedule"), 200),
        "origin": name(raw.get("origin")),
        "release": name(raw.get("release"), 64),
        "args": text(raw.get("args")),
        "kwargs": text(raw.get("kwargs")),
        "body": text(raw.get("body")),
        "withheld": name(raw.get("withheld"), 16),
    }


def _read_common(raw: Raw) -> dict[str, Any]:
    return _told(_common(raw))


def _read_nothing(raw: Raw) -> dict[str, Any]:
    return {}


def _read_success(raw: Raw) -> dict[str, Any]:
    return _told({"result": text(raw.get("result")), "run": _duration(raw.get("runtime"))})


def _read_fault(raw: Raw) -> dict[str, Any]:
    return _told(
        {
            "exception": text(raw.get("exception"), EXCEPTION_LENGTH),
            "traceback": text(raw.get("traceback")),
            "task": name(raw.get("name")),
        }
    )


def _read_progress(raw: Raw) -> dict[str, Any]:
    return {"progress": {"state": name(raw.get("state"), 64), "meta": raw.get("meta")}}


_READERS = {
    "sent": _read_common,
    "received": _read_common,
    "started": _read_nothing,
    "succeeded": _read_success,
    "failed": _read_fault,
    "retried": _read_fault,
    "revoked": _read_nothing,
    "rejected": _read_nothing,
    "requeued": _read_nothing,
    "progress": _read_progress,
}


def _told(facts: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in facts.items() if value is not None}


def _task_id(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise Odd("no task id")
    if len(value) > NAME_LENGTH:
        raise Odd("task id too long")
    return storable(value)


def storable(value: str) -> str:
    """`value` without NUL and lone surrogates, which databases refuse."""
    if value.isascii():
        return value.replace("\x00", "\ufffd") if "\x00" in value else value
    return value.replace("\x00", "\ufffd").encode("utf-8", "replace").decode()


def name(value: Any, longest: int = NAME_LENGTH) -> str | None:
    """A short text, cut with an ellipsis; None if there is none."""
    if not isinstance(value, str) or not value:
        return None
    clean = storable(value)
    return clean if len(clean) <= longest else clean[: longest - 1] + "…"


def text(value: Any, longest: int = TEXT_LENGTH) -> str | None:
    """A long text; None if there is none."""
    if value is None:
        return None
    return name(value if isinstance(value, str) else str(value), longest) or ""


def _names(value: Any) -> str | None:
    if not isinstance(value, list):
        return None
    return name(",".join(item for item in value if isinstance(item, str)), 500)


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if abs(value) < 1e15 else None


def _count(value: Any) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if 0 <= value < 2**62 else None


def _priority(value: Any) -> int | None:
    count = _count(value)
    return count if count is not None and count < 32_000 else None


def _duration(value: Any) -> float | None:
    number = _number(value)
    return number if number is not None and 0 <= number < LONGEST else None


def _time(value: Any, offset: float = 0.0) -> float | None:
    """Seconds by the stream's clock, in whole microseconds: as the database keeps them, so that a job
    which is read back counts as it did in memory."""
    number = _number(value)
    at = None if number is None else round(number + offset, 6)
    return at if at is not None and FIRST_TIME < at < LAST_TIME else None


def _moment(value: Any) -> float | None:
    """Seconds since the epoch of an ISO 8601 text; UTC where it names no zone, as Celery means it."""
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return None
    return _time((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())
