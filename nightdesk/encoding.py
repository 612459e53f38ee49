"""Events as JSON text: plain, compact, ASCII."""

from __future__ import annotations

import json
from typing import Any

from nightdesk.redaction import described

LONGEST_VALUE = 1_000


def _as_text(value: Any) -> str:
    return described(value, LONGEST_VALUE)


# What Celery puts into an event is JSON already; anything else is named, and no code of its own runs.
encode = json.JSONEncoder(separators=(",", ":"), default=_as_text).encode
