"""Lines that a job has logged: from an event into a row, and from rows onto a page. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import orjson

from jobs import values
from jobs.events import JobEvent

# What a program may make us keep of one event, and of one attempt.
MOST_LINES, LINE_LENGTH, PART_LENGTH, LAST_LINE = 200, 2_100, 20_000, 10_000


class Line(NamedTuple):
    """`at` in seconds since the epoch by the stream's clock."""

    at: float
    level: str
    logger: str
    text: str


def rows_of(job_id: int | None, events: Iterable[JobEvent]) -> list[Sequence[Any]]:
    """Rows in the order of tables.LOG_KEY and LOG_COLUMNS; a part that is told twice is one row."""
    rows = {}
    for event in events:
        part = _read(event) if event.kind == "log" else None
        if part is not None:
            first, lines, left_out = part
            key = (event.retries or 0, event.delivery, first)
            rows[key] = [job_id, *key, orjson.dumps([[*line] for line in lines]).decode(), left_out]
    return list(rows.values())


def _read(event: JobEvent) -> tuple[int, list[Line], int] | None:
    """Number of the first line, the lines, how many were left out; None if it is nothing of the kind."""
    meta = event.meta
    if not isinstance(meta, dict) or not isinstance(meta.get("lines"), list):
        return None
    first, left_out = values.small(meta.get("first")), values.small(meta.get("left_out"))
    if first is None or first > LAST_LINE:
        return None
    lines, size = [], 0
    for told in meta["lines"][:MOST_LINES]:
        line = _line(told, event.at)
        size += 0 if line is None else len(line.text)
        if line is not None and size <= PART_LENGTH:
            lines.append(line)
    return first, lines, left_out or 0


def _line(told: Any, at: float) -> Line | None:
    """From [seconds before the event, level, logger, text]."""
    if not isinstance(told, list) or len(told) != 4:
        return None
    before = values.number(told[0]) or 0.0
    level, logger = (values.name(name, 100) or "?" for name in told[1:3])
    return Line(
        round(at - min(max(before, 0.0), 3600.0), 6), level, logger, values.text(told[3], LINE_LENGTH) or ""
    )


def written(texts: Iterable[str]) -> list[Line]:
    """The lines in `lines` of some rows."""
    return [Line(*line) for text in texts for line in orjson.loads(text)]
