"""JSON as people read it."""

from __future__ import annotations

import json
import re
from typing import Any

# A page can't hold half a pair, and what turns text round is not to be read; JSON writes each as six letters.
UNFIT = re.compile("[\ud800-\udfff\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def legible(value: Any, indent: int | None = None) -> str:
    """As JSON in its own letters, which reads back as the same. Raises ValueError for too deep a nest."""
    try:
        text = json.dumps(value, indent=indent, ensure_ascii=False)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    return UNFIT.sub(lambda letter: f"\\u{ord(letter[0]):04x}", text)
