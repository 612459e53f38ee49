"""The geometry of small drawings: bars in a cell, and a job's attempts on a line of time. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from dashboard import formats

STEPS = (0.01, 0.1, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 21600, 43200, 86400)
ROW = 29
THIN = 0.6  # per cent: a bar that can still be seen


def spark(values: Sequence[float | None], height: int, full: float | None = None) -> str:
    """Bars as an SVG path, 3 wide and 4 apart; `full` is the value of a whole bar, or the largest.

    Zero is a line of 1, not known is nothing. The same as `spark` in bind.js.
    """
    known = [value for value in values if value is not None]
    top = full or max(known, default=0) or 1
    return "".join(
        _bar(place * 4, _tall(value, top, height), height)
        for place, value in enumerate(values)
        if value is not None
    )


def _tall(value: float, top: float, height: int) -> float:
    share = min(1.0, max(0.0, value / top))
    return max(1.0, math.floor(share * (height - 1) * 10 + 0.5) / 10)


def _bar(left: int, tall: float, height: int) -> str:
    return f"M{left} {height}h3v-{tall:g}h-3z"


@dataclass(frozen=True)
class Bar:
    """A span on the line of time, in per cent of its width; `row` counts attempts from 0."""

    left: str
    width: str
    right: str
    top: float
    tone: str

    @property
    def middle(self) -> float:
        return self.top + 7


@dataclass(frozen=True)
class Tick:
    left: str
    anchor: str
    label: str


@dataclass(frozen=True)
class Gantt:
    """A job's attempts: waited, ran, and the pauses between; sizes are ready for SVG attributes."""

    bars: list[Bar]
    pauses: list[Bar]
    ticks: list[Tick]
    height: int
    floor: int


TONES = {"failed": "bad", "rejected": "bad", "retrying": "warn", "revoked": "stop", "succeeded": "ok"}


def gantt(attempts: Sequence[dict[str, Any]], now: float) -> Gantt | None:
    """The drawing of attempts that started; None where none has."""
    spans = [_span(attempt, now) for attempt in attempts]
    begins = [span[0] for span in spans if span]
    if not begins:
        return None
    first, last = min(begins), max(span[2] for span in spans if span)
    scale = _Scale(first, max(last - first, 0.001))
    drawn = [(row, span, TONES.get(attempts[row]["state"], "run")) for row, span in enumerate(spans) if span]
    bars = [bar for row, span, tone in drawn for bar in _both(scale, row, span, tone)]
    pauses = [
        scale.bar(row, before[2], span[0], "pause")
        for (_, before, _), (row, span, _) in pairwise(drawn)
        if span[0] > before[2]
    ]
    return Gantt(bars, pauses, scale.ticks(), len(attempts) * ROW + 22, len(attempts) * ROW + 4)


def _span(attempt: dict[str, Any], now: float) -> tuple[float, float, float] | None:
    """When an attempt began to wait, started and ended (or now)."""
    started = attempt["started"]
    if started is None:
        return None
    ended = attempt["ended"]
    if ended is None:
        ended = started + attempt["run"] if attempt["run"] is not None else now
    return started - (attempt["wait"] or 0.0), started, max(ended, started)


@dataclass(frozen=True)
class _Scale:
    start: float
    length: float

    def bar(self, row: int, begin: float, end: float, tone: str) -> Bar:
        left = (begin - self.start) / self.length * 100
        width = (end - begin) / self.length * 100
        if tone != "pause":
            width = max(width, THIN)
            left = min(left, 100 - THIN)
        return Bar(_share(left), _share(width), _share(left + width), row * ROW + 7, tone)

    def ticks(self) -> list[Tick]:
        step = next((step for step in STEPS if self.length / step <= 5), self.length / 4)
        places = range(int(self.length // step) + 1)
        ticks = [self._tick(place * step) for place in places]
        return [tick for tick in ticks if tick.anchor != "start" or tick is ticks[0]]

    def _tick(self, offset: float) -> Tick:
        share = offset / self.length * 100
        anchor = "start" if share < 18 else "end" if share > 94 else "middle"
        label = formats.clock(self.start) if offset == 0 else f"+{formats.seconds(offset)}"
        return Tick(_share(share), anchor, label)


def _both(scale: _Scale, row: int, span: tuple[float, float, float], tone: str) -> list[Bar]:
    waited, started, ended = span
    ran = scale.bar(row, started, ended, tone)
    return [scale.bar(row, waited, started, "idle"), ran] if started > waited else [ran]


def _share(value: float) -> str:
    return f"{value:.2f}%"
