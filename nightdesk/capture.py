"""What a message carries, as the record may keep it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kombu.utils import json

from nightdesk.redaction import Redactor

REDACTED, TOO_LARGE, NOT_CAPTURED = "redacted", "too large", "not captured"


def captured_body(
    redactor: Redactor,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    embed: Mapping[str, Any],
    body_bytes: int,
) -> dict[str, str]:
    """Fields for an event: `args`, `kwargs` (JSON, cleaned), and `body` or why it is `withheld`.

    The body is exact, as Celery's JSON puts it on the wire, and kept only
    where cleaning found nothing to hide and nothing to cut.
    """
    cleaned_args = redactor.clean(args, body_bytes)
    cleaned_kwargs = redactor.clean(kwargs, body_bytes)
    cleaned_embed = redactor.clean(embed, body_bytes)
    parts = (cleaned_args, cleaned_kwargs, cleaned_embed)
    fields = {"args": json.dumps(cleaned_args.value), "kwargs": json.dumps(cleaned_kwargs.value)}
    if any(part.hidden for part in parts):
        return {**fields, "withheld": REDACTED}
    if any(part.cut for part in parts):
        return {**fields, "withheld": TOO_LARGE}
    try:
        body = json.dumps((args, kwargs, embed))
    except (TypeError, ValueError):  # another serializer carries what JSON can't
        return {**fields, "withheld": NOT_CAPTURED}
    return {**fields, "withheld": TOO_LARGE} if len(body) > body_bytes else {**fields, "body": body}
