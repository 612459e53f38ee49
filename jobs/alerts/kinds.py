"""The kinds of rules, and the parameters of each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError


class Unreadable(ValueError):
    """Parameters that can't be read; the text says why."""


def read(kind: str, params: Mapping[str, Any]) -> Any:
    """The parameters of a rule of this kind. Raises Unreadable."""


def zone(name: str) -> ZoneInfo:
    """A time zone by its name. Raises Unreadable."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        raise Unreadable(f"there is no time zone {name!r}") from None
