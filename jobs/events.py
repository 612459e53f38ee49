"""Celery's events become typed events; what is odd raises Odd, to be quarantined and counted.

Nothing from outside is trusted here. `decode` reads the events of an entry as
they should be: types, lengths and ranges are checked while the JSON is read.
What fails there goes through `parse`, which keeps of an event what is of use:
texts are made storable and cut, values out of range are not told. Both give
the same event for the same JSON, and bring its times to the stream's clock.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any

import msgspec
from msgspec import Meta, field

from jobs import values
from jobs.values import (
    COUNTS_BELOW,
    EXCEPTION_LENGTH,
    FIRST_TIME,
    LAST_TIME,
    LONGEST,
    NAME_LENGTH,
    PRIORITIES_BELOW,
    SMALL_BELOW,
    TEXT_LENGTH,
)
from jobs.worker_facts import worker_facts

Raw = Mapping[str, Any]

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
    "job-duplicate": "duplicate",
    "job-log": "log",
    "job-unknown": "unknown",
}
WORKER_KINDS = {"worker-online": "online", "worker-heartbeat": "heartbeat", "worker-offline": "offline"}
# A message that is no job that anybody knows, or can't be read as one.
DROPPED = "message-dropped"
# A recorder writes it in the place of an event that it could not make.
FAULT = "recorder-fault"

Id = Annotated[str, Meta(min_length=1, max_length=NAME_LENGTH)]
Name = Annotated[str, Meta(min_length=1, max_length=NAME_LENGTH)] | None
ShortName = Annotated[str, Meta(min_length=1, max_length=64)] | None
Text = Annotated[str, Meta(max_length=TEXT_LENGTH)] | None
Count = Annotated[int, Meta(ge=0, lt=COUNTS_BELOW)]
Seconds = Annotated[float, Meta(ge=0, lt=LONGEST)]
Time = Annotated[float, Meta(gt=FIRST_TIME, lt=LAST_TIME)]


class Odd(ValueError):
    """An event that can't be read; the message is a short reason, good to count by."""


class IsoTime(float):
    """An ISO 8601 text in JSON; here seconds since the epoch."""


class JobEvent(msgspec.Struct, gc=False):
    """Something that happened to a job; None is "not told". Times are seconds by the stream's clock.

    `retries` is None where the event doesn't tell. `delivery` is 0 where no
    receipt is known. `published_at` is the publish of this attempt,
    `first_published_at` of the first one. `progress` is a state that the job
    gave itself, with `meta`. The names in brackets are those in JSON.
    """

    kind: str = field(name="type")
    task_id: Id = field(name="uuid")
    at: Time = field(name="timestamp")
    worker: Name = field(name="hostname", default=None)
    retries: Annotated[int, Meta(ge=0, lt=SMALL_BELOW)] | None = None
    delivery: Count = 0
    task: Name = field(name="name", default=None)
    queue: Name = None
    priority: Annotated[int, Meta(ge=0, lt=PRIORITIES_BELOW)] | None = None
    published_at: Time | None = field(name="published", default=None)
    first_published_at: Time | None = field(name="first_published", default=None)
    eta: IsoTime | None = None
    expires_at: IsoTime | None = field(name="expires", default=None)
    root_id: Name = None
    parent_id: Name = None
    group_id: Name = field(name="group", default=None)
    retry_of: Name = None
    schedule: Annotated[str, Meta(min_length=1, max_length=200)] | None = None
    origin: Name = None
    release: ShortName = None
    args: Text = None
    kwargs: Text = None
    body: Text = None
    withheld: Annotated[str, Meta(min_length=1, max_length=16)] | None = None
    result: Text = None
    run: Seconds | None = field(name="runtime", default=None)
    exception: Annotated[str, Meta(max_length=EXCEPTION_LENGTH)] | None = None
    traceback: Text = None
    requeue: bool | None = None
    progress: ShortName = field(name="state", default=None)
    meta: Any = None


class WorkerEvent(msgspec.Struct):
    """A sign of life of a worker process; `facts` holds only what it tells."""

    kind: str
    at: float
    name: str
    facts: dict[str, Any]


class DroppedMessage(msgspec.Struct):
    """A message that a worker has thrown away; see `nightdesk.dropped` for what its fields hold."""

    at: float
    digest: str
    task_id: str | None = None
    task: str | None = None
    queue: str | None = None
    priority: int | None = None
    exception: str | None = None
    content_type: str | None = None
    content_encoding: str | None = None
    headers: str | None = None
    raw: str | None = None
    size: int | None = None
    shown: str | None = None
    withheld: str | None = None


# As it should be


def _read_iso_time(kind: type, value: Any) -> IsoTime:
    at = values.iso_time(value)
    if at is None:
        raise ValueError("not a time")
    return IsoTime(at)


_decoder = msgspec.json.Decoder(list[JobEvent], dec_hook=_read_iso_time)
NUL = b"\\u0000"


def decode(text: bytes, offset: float) -> list[JobEvent | None] | None:
    """All events of a JSON list; None if one of them needs another look, by `parse`.

    In the list, None is an event of a kind that the record doesn't keep.
    """
    if NUL in text:
        return None
    try:
        return [_finished(event, offset) for event in _decoder.decode(text)]
    except (msgspec.DecodeError, RecursionError, Odd):
        return None


def _finished(event: JobEvent, offset: float) -> JobEvent | None:
    """The event with its kind in our words and its times by the stream's clock."""
    kind = JOB_KINDS.get(event.kind)
    if kind is None:
        if event.kind in WORKER_KINDS or event.kind in (FAULT, DROPPED):
            raise Odd("not of a job")
        return None
    event.kind = "requeued" if event.requeue and kind == "rejected" else kind
    if kind == "sent":
        event.worker = None
    elif kind == "duplicate" and not event.delivery:  # of an older release: nobody knows which attempt it is
        return None
    # In whole microseconds: see values.time.
    event.at = at = round(event.at + offset, 6)
    if not FIRST_TIME < at < LAST_TIME:
        raise Odd("no time")
    published, first_published = event.published_at, event.first_published_at
    if published is not None:
        event.published_at = round(published, 6)
    if first_published is not None:
        event.first_published_at = (
            event.published_at if first_published == published else round(first_published, 6)
        )
    if event.parent_id == event.task_id:  # Celery makes a job the parent of its own retries
        event.parent_id = None
    return event


# As it is


def parse(raw: Any, offset: float) -> JobEvent | WorkerEvent | DroppedMessage | None:
    """Read one event, as far as it can be read; None if it is of a kind that the record doesn't keep.

    Raises Odd.
    """
    if not isinstance(raw, dict):
        raise Odd("not an object")
    kind = raw.get("type")
    if not isinstance(kind, str):
        raise Odd("no type")
    if kind in JOB_KINDS:
        return _job_event(kind, raw, offset)
    if kind in WORKER_KINDS:
        return _worker_event(WORKER_KINDS[kind], raw, offset)
    if kind == DROPPED:
        return _dropped(raw, offset)
    if kind == FAULT:
        raise Odd("the recorder failed")
    return None


def _iso(value: Any) -> IsoTime | None:
    at = values.iso_time(value)
    return None if at is None else IsoTime(at)


def _limited(read: Callable[[Any, int], str | None], longest: int) -> Callable[[Any], str | None]:
    return lambda value: read(value, longest)


def _flag(value: Any) -> bool | None:
    return None if value is None else bool(value)


# How each field is read from a value that may be anything.
_READERS: dict[str, Callable[[Any], Any]] = {
    "worker": values.name,
    "retries": values.small,
    "task": values.name,
    "queue": values.name,
    "priority": values.priority,
    "published_at": values.time,
    "first_published_at": values.time,
    "eta": _iso,
    "expires_at": _iso,
    "root_id": values.name,
    "parent_id": values.name,
    "group_id": values.name,
    "retry_of": values.name,
    "schedule": _limited(values.name, 200),
    "origin": values.name,
    "release": _limited(values.name, 64),
    "args": values.text,
    "kwargs": values.text,
    "body": values.text,
    "withheld": _limited(values.name, 16),
    "result": values.text,
    "run": values.duration,
    "exception": _limited(values.text, EXCEPTION_LENGTH),
    "traceback": values.text,
    "requeue": _flag,
    "progress": _limited(values.name, 64),
    "meta": lambda value: value,
}
_IN_JSON = {told.name: told.encode_name for told in msgspec.structs.fields(JobEvent)}


def _job_event(kind: str, raw: Raw, offset: float) -> JobEvent | None:
    at = values.time(raw.get("timestamp"), offset)
    if at is None:
        raise Odd("no time")
    told = {name: read(raw.get(_IN_JSON[name])) for name, read in _READERS.items()}
    delivery = values.count(raw.get("delivery")) or 0
    event = JobEvent(kind, _task_id(raw.get("uuid")), at, delivery=delivery, **told)
    return _finished(event, 0.0)


def _task_id(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise Odd("no task id")
    if len(value) > NAME_LENGTH:
        raise Odd("task id too long")
    return values.storable(value)


def _worker_event(kind: str, raw: Raw, offset: float) -> WorkerEvent:
    at, hostname = values.time(raw.get("timestamp"), offset), values.name(raw.get("hostname"))
    if at is None or hostname is None:
        raise Odd("no time or no host")
    load = raw.get("loadavg")
    facts = {
        "pid": values.small(raw.get("pid")),
        "busy": values.small(raw.get("active")),
        "processed": values.count(raw.get("processed")),
        "slots": values.small(raw.get("slots")),
        "freq": values.number(raw.get("freq")),
        "load": values.number(load[0]) if isinstance(load, list) and load else None,
        "version": values.name(raw.get("sw_ver"), 64),
        "release": values.name(raw.get("release"), 64),
        "queues": values.names(raw.get("queues")),
        **worker_facts(raw),
    }
    return WorkerEvent(kind, at, hostname, {key: value for key, value in facts.items() if value is not None})


def _dropped(raw: Raw, offset: float) -> DroppedMessage:
    at, digest = values.time(raw.get("timestamp"), offset), values.name(raw.get("digest"), 64)
    if at is None or digest is None:
        raise Odd("no time or no digest")
    body, headers = values.text(raw.get("raw")), values.text(raw.get("headers"))
    whole = (body, headers) == (raw.get("raw"), raw.get("headers"))
    untold = None if whole and body is not None and headers is not None else "not captured"
    return DroppedMessage(
        at=at,
        digest=digest,
        task_id=values.name(raw.get("uuid")),
        task=values.name(raw.get("name")),
        queue=values.name(raw.get("queue")),
        priority=values.priority(raw.get("priority")),
        exception=values.text(raw.get("exception"), EXCEPTION_LENGTH),
        content_type=values.name(raw.get("content_type")),
        content_encoding=values.name(raw.get("content_encoding")),
        headers=headers if whole else None,
        raw=body if whole else None,
        size=values.count(raw.get("size")),
        shown=values.text(raw.get("shown")),
        withheld=(values.name(raw.get("withheld"), 16) or untold) if whole else "too large",
    )
