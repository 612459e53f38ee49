"""The trend of a task as bars: how many jobs ended, and, in red, how many of them failed. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dashboard import formats, zones

# The smallest red that is still seen.
LEAST_RED = 2.0
HEIGHT, TOP = 132, 22
MOST_TICKS = 6
STEPS = (600, 900, 1800, 3600, 7200, 14_400, 21_600, 43_200, 86_400)
DAY = 86_400


@dataclass(frozen=True)
class Trend:
    """Two paths in one drawing; sizes are ready for SVG attributes."""

    width: int
    height: int
    ended: str
    failed: str


def trend(told: Mapping[str, Sequence[int | None]], height: int = 18) -> Trend:
    """Bars 3 wide and 4 apart. Zero is a line of 1, not known is nothing."""
    top = max([count for count in told["ended"] if count is not None], default=0) or 1
    tall = [None if n is None else _tall(n, top, height) for n in told["ended"]]
    red = [max(LEAST_RED, _tall(n, top, height)) if n else None for n in told["failed"]]
    return Trend(max(1, len(tall) * 4 - 1), height, _path(tall, height), _path(red, height))


def _tall(count: int, top: int, height: int) -> float:
    return max(1.0, math.floor(min(1.0, max(0, count) / top) * (height - 1) * 10 + 0.5) / 10)


def _path(heights: Sequence[float | None], floor: int) -> str:
    drawn = [(place * 4, tall) for place, tall in enumerate(heights) if tall is not None]
    return "".join(f"M{left} {floor}h3v-{tall:g}h-3z" for left, tall in drawn)


@dataclass(frozen=True)
class Bar:
    """A span of the window, as shares of the drawing's width, and pixels from above."""

    left: str
    width: str
    top: str
    height: str
    red_top: str
    red_height: str


@dataclass(frozen=True)
class Tick:
    left: str
    text: str


@dataclass(frozen=True)
class Chart:
    """The drawing, and the same in figures, the newest first: (moment, ended, failed)."""

    bars: list[Bar]
    ticks: list[Tick]
    top: str
    rows: list[tuple[int, int | None, int | None]]


def chart(told: Mapping[str, Any]) -> Chart | None:
    """The drawing of a trend; None where nothing is known of the whole time."""
    ended, failed = told["ended"], told["failed"]
    known = [count for count in ended if count is not None]
    if not known:
        return None
    top = max(known) or 1
    wide = 100 / len(ended)
    steps = enumerate(zip(ended, failed, strict=True))
    rows = [(told["start"] + place * told["step"], n, bad) for place, (n, bad) in steps]
    places = [place for place, n in enumerate(ended) if n is not None]
    return Chart(
        bars=[_drawn(place * wide, wide, ended[place], failed[place], top) for place in places],
        ticks=_ticks(told["start"], told["step"] * len(ended)),
        top=formats.count(top),
        rows=rows[::-1],
    )


def _drawn(left: float, wide: float, ended: int, failed: int, top: int) -> Bar:
    tall = max(1.0, ended / top * HEIGHT)
    red = max(LEAST_RED, failed / top * HEIGHT) if failed else 0.0
    return Bar(
        left=f"{left:.3f}%",
        width=f"{wide * 0.75:.3f}%",
        top=f"{TOP + HEIGHT - tall:.1f}",
        height=f"{tall:.1f}",
        red_top=f"{TOP + HEIGHT - red:.1f}",
        red_height=f"{red:.1f}",
    )


def _ticks(start: int, seconds: int) -> list[Tick]:
    step = next((step for step in STEPS if seconds / step <= MOST_TICKS), DAY)
    shares = [((at - start) / seconds, at) for at in zones.round_moments(start, start + seconds, step)]
    return [Tick(f"{100 * share:.2f}%", _moment(at, step)) for share, at in shares if 0.03 <= share <= 0.97]


def _moment(at: int, step: int) -> str:
    return formats.moment(at)[:10] if step >= DAY else formats.minute(at)
