"""Entries of a stream, made by hand."""

from __future__ import annotations

import itertools
import json
from typing import Any

from jobs.batch import StreamEntry
from nightdesk import entry

START = 1_790_000_000.0
_numbers = itertools.count(1)


def raw(kind: str, uuid: str, at: float = 0.0, **fields: Any) -> dict[str, Any]:
    """An event as the recorder writes it, `at` seconds after START."""
    told = {"retries": 0, "delivery": 0 if kind == "task-sent" else 1, **fields}
    return {"type": kind, "uuid": uuid, "timestamp": START + at, "hostname": "w1@host", "pid": 1, **told}


def life_of(uuid: str, at: float = 0.0, end: str = "task-succeeded") -> list[dict[str, Any]]:
    """Four events of a job that waits and runs for a second each."""
    fault = (
        {"exception": "KeyError('currency')", "traceback": "Traceback…"}
        if end == "task-failed"
        else {"result": "1"}
    )
    return [
        raw("task-sent", uuid, at, name="shop.pay", queue="high", priority=5, args="[]", kwargs="{}"),
        raw("task-received", uuid, at + 0.9, name="shop.pay", queue="high", published=START + at),
        raw("task-started", uuid, at + 1),
        raw(end, uuid, at + 2, **fault),
    ]


def entry_of(
    events: list[Any], producer: str = "p1", first_seq: int = 1, offset: float | None = 0.0, at: float = 10.0
) -> StreamEntry:
    """A stream entry that holds these events; its id grows with each call."""
    texts = [event if isinstance(event, str) else json.dumps(event) for event in events]
    fields = entry.encode(producer, first_seq, texts, START + at, offset)
    stream_id = f"{int((START + at) * 1000)}-{next(_numbers)}"
    return stream_id, {name.encode(): value.encode() for name, value in fields.items()}


def entries_of(events: list[Any], size: int = 7, producer: str = "p1") -> list[StreamEntry]:
    """Events of one producer, cut into entries, in order."""
    return [
        entry_of(events[start : start + size], producer, start + 1) for start in range(0, len(events), size)
    ]
