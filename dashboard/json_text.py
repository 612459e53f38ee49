"""JSON as people read it."""

from __future__ import annotations

import json
import re
from typing import Any

# A page can't hold it, and JSON writes it as six letters.
HALF_A_PAIR = re.compile("[\ud800-\udfff]")


def legible(value: Any, indent: int | None = None) -> str:
    """As JSON in its own letters, which reads back as the same value."""
    text = json.dumps(value, indent=indent, ensure_ascii=False)
    return HALF_A_PAIR.sub(lambda half: f"\\u{ord(half[0]):04x}", text)
