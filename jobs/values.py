"""One value from outside, made fit for the record: capped, storable, in range; None if it is of no use."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import orjson

NAME_LENGTH = 255
EXCEPTION_LENGTH = 500
QUEUES_LENGTH = 500
TEXT_LENGTH = 100_000
FIRST_TIME, LAST_TIME = 946_684_800.0, 4_102_444_800.0  # the years 2000 to 2100
LONGEST = LAST_TIME - FIRST_TIME
COUNTS_BELOW = 2**62
SMALL_BELOW = 2**31  # what an integer of PostgreSQL holds
PRIORITIES_BELOW = 32_000


def storable(value: str) -> str:
    """`value` without NUL and lone surrogates, which databases refuse."""
    if value.isascii():
        return value.replace("\x00", "\ufffd") if "\x00" in value else value
    return value.replace("\x00", "\ufffd").encode("utf-8", "replace").decode()


def storable_json(value: Any) -> str:
    """JSON of it without what databases, and those who read JSON strictly, refuse."""
    try:
        return orjson.dumps(value, default=str).decode()
    except TypeError:  # half a surrogate pair, a number beyond 64 bits
        return storable(json.dumps(value, default=str, ensure_ascii=False))


def read_json(text: str) -> Any:
    """The value of a JSON text. Raises ValueError for what is none, or is nested too deeply."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def in_utc(moment: datetime) -> datetime:
    """The same moment, aware: without a zone it is meant in UTC."""
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


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


def names(value: Any) -> str | None:
    """A list of names, as one text with commas; empty for an empty list, None for anything else."""
    if not isinstance(value, list):
        return None
    return name(",".join(item for item in value if isinstance(item, str)), QUEUES_LENGTH) or ""


def number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if abs(value) < 1e15 else None


def count(value: Any) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if 0 <= value < COUNTS_BELOW else None


def small(value: Any) -> int | None:
    """A count of retries, slots or the like."""
    return _below(SMALL_BELOW, value)


def priority(value: Any) -> int | None:
    return _below(PRIORITIES_BELOW, value)


def _below(limit: int, value: Any) -> int | None:
    whole = count(value)
    return whole if whole is not None and whole < limit else None


def duration(value: Any) -> float | None:
    """Seconds."""
    seconds = number(value)
    return seconds if seconds is not None and 0 <= seconds < LONGEST else None


def time(value: Any, offset: float = 0.0) -> float | None:
    """Seconds by the stream's clock, in whole microseconds: as the database keeps them, so that a job
    which is read back counts as it did in memory."""
    seconds = number(value)
    at = None if seconds is None else round(seconds + offset, 6)
    return at if at is not None and FIRST_TIME < at < LAST_TIME else None


def iso_time(value: Any) -> float | None:
    """Seconds since the epoch of an ISO 8601 text; UTC where it names no zone, as Celery means it."""
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return None
    return time(in_utc(moment).timestamp())
