"""The chart of a queue's waits: p95 of what ended, the age of the oldest overlaid, on a log axis. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from dashboard import formats, zones
from jobs.headlines import MINUTE

STEP = 2 * MINUTE
# The viewBox of the lines; the axis goes down to what nobody calls a wait.
WIDTH, HEIGHT, LEAST = 240.0, 100.0, 0.1
DECADES = (0.1, 1.0, 10.0, 60.0, 600.0, 3_600.0, 36_000.0, 360_000.0)
TICK_EVERY = 10 * MINUTE


@dataclass(frozen=True)
class Label:
    """A text beside the drawing; the place is ready for an SVG attribute."""

    at: str
    text: str


@dataclass(frozen=True)
class WaitChart:
    """Lines as SVG paths in a box of WIDTH by HEIGHT; `rows` the same in figures, the newest first."""

    wait: str
    oldest: str
    target: str | None
    levels: list[Label]
    ticks: list[Label]
    rows: list[tuple[int, float | None, float | None]]


def wait_chart(
    wait: Sequence[float | None], oldest: Sequence[float | None], target: float | None, now: float
) -> WaitChart | None:
    """The drawing of the hour until `now`, a value for each two minutes; None where nothing is known."""
    known = [value for value in (*wait, *oldest) if value is not None]
    if not known:
        return None
    top = next((level for level in DECADES if level >= max(known)), DECADES[-1])
    top = max(top, 10.0)
    start = (int(now // MINUTE) + 1) * MINUTE - STEP * len(wait)
    return WaitChart(
        wait=_line(wait, top),
        oldest=_line(oldest, top),
        target=None if target is None or not LEAST <= target <= top else f"{_height(target, top):.1f}%",
        levels=[
            Label(f"{_height(level, top):.1f}%", formats.seconds(level)) for level in DECADES if level <= top
        ],
        ticks=_ticks(start, STEP * len(wait)),
        rows=[
            (start + place * STEP, waited, age)
            for place, (waited, age) in enumerate(zip(wait, oldest, strict=True))
        ][::-1],
    )


def _line(values: Sequence[float | None], top: float) -> str:
    """A path through what is known; it is broken where a value is not."""
    wide = WIDTH / len(values)
    pieces, pen = [], "M"
    for place, value in enumerate(values):
        if value is None:
            pen = "M"
            continue
        pieces.append(f"{pen}{(place + 0.5) * wide:g} {_height(value, top):.1f}h0.01")
        pen = "L"
    return "".join(pieces)


def _height(value: float, top: float) -> float:
    """From above, in HEIGHT: each tenfold takes the same room."""
    share = math.log(max(value, LEAST) / LEAST) / math.log(top / LEAST)
    return HEIGHT * (1 - min(1.0, share))


def _ticks(start: float, length: float) -> list[Label]:
    moments = zones.round_moments(int(start), int(start + length), TICK_EVERY)
    shares = [(moment, (moment - start) / length) for moment in moments]
    return [Label(f"{share:.2%}", formats.minute(moment)) for moment, share in shares if 0.03 < share < 0.97]
