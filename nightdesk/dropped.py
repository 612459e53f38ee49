"""What a worker throws away unrun: tasks that it doesn't know, messages that it can't read.

Celery logs them and forgets them. Here they become facts for an event, with
their raw form, so that somebody may send them again once the fault is mended.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from typing import Any

from kombu.exceptions import KombuError
from kombu.utils import json

from nightdesk.capture import NOT_CAPTURED, REDACTED, TOO_LARGE, captured_body
from nightdesk.messages import carried_by, header_of, lineage, stamp_of, stamped
from nightdesk.redaction import Redactor

DROPPED, UNKNOWN = "message-dropped", "job-unknown"
SHOWN_LENGTH, FAULT_LENGTH = 2_000, 500
NO_ENVELOPE = "not an envelope"


def unknown_task(message: Any, name: str, redactor: Redactor, body_bytes: int) -> dict[str, Any]:
    """Fields of an event about a message whose task this worker doesn't know."""
    body, where = _job_in(message), _where(message)
    header, stamp = header_of(_header(message), body), stamp_of(_header(message))
    known = {**where, **(stamped(stamp) if stamp else {})}
    carried = (
        {"withheld": NOT_CAPTURED} if body is None else captured_body(redactor, *carried_by(body), body_bytes)
    )
    return {"name": name, "retries": header.get("retries") or 0, **lineage(header), **known, **carried}


def unreadable(message: Any, exc: Exception | None, redactor: Redactor, body_bytes: int) -> dict[str, Any]:
    """Fields of an event about a message that can't be read, or is no job."""
    header, raw = _header(message), _bytes(message.body)
    fault = "no job: a task's name or id is missing" if exc is None else f"{type(exc).__name__}: {exc}"
    where = _where(message)
    return {
        "uuid": _text(header.get("id")),
        "name": _text(header.get("task")),
        **where,
        "content_type": _text(message.content_type),
        "content_encoding": _text(message.content_encoding),
        **_raw(raw, str(where["queue"]), fault, redactor),
        **_to_send_again(header, raw, redactor, body_bytes),
    }


def no_envelope(raw: bytes, queue: str, redactor: Redactor) -> dict[str, Any]:
    """Fields of an event about something in a queue that was no message at all: nothing can send it again."""
    return {"queue": queue, **_raw(raw, queue, NO_ENVELOPE, redactor), "withheld": NO_ENVELOPE}


def _raw(raw: bytes, queue: str, fault: str, redactor: Redactor) -> dict[str, Any]:
    """Nothing is `shown` where a word alone names secrets: any format may have them beside it."""
    start = raw.replace(b"\0", b"")[: SHOWN_LENGTH * 10].decode(errors="backslashreplace")
    return {
        "digest": hashlib.sha256(queue.encode(errors="replace") + b"\0" + raw).hexdigest(),
        "size": len(raw),
        "shown": None if redactor.is_sensitive(_legible(raw)) else redactor.excerpt(start, SHOWN_LENGTH),
        "exception": redactor.excerpt(fault, FAULT_LENGTH),
    }


def _to_send_again(
    header: Mapping[str, Any], raw: bytes, redactor: Redactor, body_bytes: int
) -> dict[str, str]:
    """`raw` (base64) and `headers` (JSON), exact; or why they are `withheld`.

    What can't be read can't be cleaned: a word alone that names secrets is enough to withhold it.
    """
    cleaned = redactor.clean(header, body_bytes)
    text = _legible(raw)
    if header.get("compression"):
        return {"withheld": NOT_CAPTURED}
    if cleaned.hidden or redactor.is_sensitive(text) or redactor.text(text) != text:
        return {"withheld": REDACTED}
    if cleaned.cut or len(raw) > body_bytes:
        return {"withheld": TOO_LARGE}
    try:
        return {"headers": json.dumps(header), "raw": base64.b64encode(raw).decode()}
    except (TypeError, ValueError):
        return {"withheld": NOT_CAPTURED}


def _legible(raw: bytes) -> str:
    """The letters in it, in whatever form: UTF-16 has zeros between them."""
    return raw.replace(b"\0", b"").decode("latin-1")


def _job_in(message: Any) -> Any:
    """The body of a job that came as JSON, in either protocol; None if it is none, or can't be read."""
    if message.content_type != "application/json":
        return None
    try:
        body = message.payload
    except KombuError:
        return None
    return body if isinstance(body, dict) or (isinstance(body, list) and len(body) == 3) else None


def _header(message: Any) -> Mapping[str, Any]:
    headers = message.headers
    return headers if isinstance(headers, Mapping) else {}


def _where(message: Any) -> dict[str, Any]:
    info = message.delivery_info or {}
    return {"queue": info.get("routing_key"), "priority": (message.properties or {}).get("priority")}


def _bytes(body: Any) -> bytes:
    if isinstance(body, bytes | bytearray | memoryview):
        return bytes(body)
    return b"" if body is None else str(body).encode(errors="surrogatepass")


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
