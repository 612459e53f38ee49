"""A finding of the Coverage page: what limits the sight of the record, or puts jobs at risk.

A finding is a code with its numbers, never words. What is not known makes no
finding: the page shows it as "?".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from jobs.known_faults import Effect

Tone = Literal["bad", "warn", "idle"]
TONES: tuple[Tone, ...] = ("bad", "warn", "idle")


@dataclass(frozen=True)
class Limit:
    """One finding: since when (None: not known), its numbers, and the workers that it is about."""

    code: str
    effect: Effect
    tone: Tone
    since: datetime | None = None
    numbers: Mapping[str, Any] = field(default_factory=dict)
    workers: tuple[str, ...] = ()

    @property
    def counts(self) -> bool:
        """Whether it should be mended; else it is only good to know."""
        return self.tone != "idle"
