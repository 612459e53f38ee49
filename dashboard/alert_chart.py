"""The chart of an alert: bars over time, red from its cause on, letters where something changed. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from dashboard import formats, zones
from jobs.alert_trends import Series
from jobs.changes import Changed

HEIGHT, TOP = 132, 22
LETTERS = "abcdefghijklmnopqrstuvwxyz"
MOST_TICKS = 6
STEPS = (10, 20, 30, 60, 120, 240, 480, 720, 1440)
FORMS = {"depth": "count", "share": "percent", "failed": "count", "succeeded": "count"}


@dataclass(frozen=True)
class Bar:
    """A step of the series; sizes are ready for SVG attributes."""

    left: str
    width: str
    top: str
    height: str
    bad: bool


@dataclass(frozen=True)
class Label:
    """A text on a line of time."""

    left: str
    text: str
    anchor: str = "middle"


@dataclass(frozen=True)
class Chart:
    """The drawing, and the same in figures, the newest first: (moment, value, how it is written).

    A moment begins a step, so many seconds wide.
    """

    bars: list[Bar]
    ticks: list[Label]
    marks: list[Label]
    cause: str
    top: str
    limit: str | None
    limit_text: str
    form: str
    step: int
    rows: list[tuple[int, float | None]]


def lettered(changes: Sequence[Changed], series: Series | None) -> list[tuple[str, Changed]]:
    """The changes with the letters that they have on the chart; without one where it doesn't show them."""
    if series is None:
        return [("", change) for change in changes]
    return lettered_between(changes, series.start, series.end)


def lettered_between(changes: Sequence[Changed], start: float, end: float) -> list[tuple[str, Changed]]:
    """The same on a chart of this time, in seconds since the epoch: the earliest that it shows is a."""
    shown = [change for change in changes if start <= change.at.timestamp() < end]
    letters = {id(change): letter for letter, change in zip(LETTERS, reversed(shown), strict=False)}
    return [(letters.get(id(change), ""), change) for change in changes]


def chart(
    series: Series, since: float, limit: float | None, changes: Sequence[tuple[str, Changed]]
) -> Chart | None:
    """The drawing; None where nothing is known of the whole time."""
    known = [value for value in series.values if value is not None]
    if not known:
        return None
    top = max([*known, limit or 0.0]) or 1.0
    form = FORMS.get(series.measure, "seconds")
    return Chart(
        bars=_bars(series, since, top),
        ticks=_ticks(series),
        marks=_marks(series, changes),
        cause=_place(series, since),
        top=formats.written(top, form, 0),
        limit=None if limit is None else f"{_height(limit, top):.1f}",
        limit_text="" if limit is None else formats.written(limit, form, 0),
        form=form,
        step=series.step,
        rows=[(series.at(place), value) for place, value in enumerate(series.values)][::-1],
    )


def _bars(series: Series, since: float, top: float) -> list[Bar]:
    wide = 100 / len(series.values)
    return [
        Bar(
            left=f"{place * wide:.3f}%",
            width=f"{wide * 0.75:.3f}%",
            top=f"{_height(value, top):.1f}",
            height=f"{TOP + HEIGHT - _height(value, top):.1f}",
            bad=series.at(place) + series.step > since,
        )
        for place, value in enumerate(series.values)
        if value is not None
    ]


def _height(value: float, top: float) -> float:
    """Where a value's bar begins, from above; zero is a line of 1."""
    return TOP + HEIGHT - max(1.0, min(1.0, value / top) * HEIGHT)


def _place(series: Series, at: float) -> str:
    share = (at - series.start) / (series.end - series.start)
    return f"{100 * min(1.0, max(0.0, share)):.2f}%"


def _ticks(series: Series) -> list[Label]:
    minutes = (series.end - series.start) / 60
    step = next((step for step in STEPS if minutes / step <= MOST_TICKS), STEPS[-1]) * 60
    moments = zones.round_moments(series.start, series.end, step)
    return [Label(_place(series, at), formats.minute(at)) for at in moments if _fits(series, at)]


def _fits(series: Series, at: float) -> bool:
    """Whether a text around this moment stays within the drawing."""
    return 0.03 <= (at - series.start) / (series.end - series.start) <= 0.97


def _marks(series: Series, changes: Sequence[tuple[str, Changed]]) -> list[Label]:
    """The letters; those of the same step stand together."""
    width = max(series.step, (series.end - series.start) // 60)
    placed = sorted((int(change.at.timestamp() // width), letter) for letter, change in changes if letter)
    return [
        Label(_place(series, (slot + 0.5) * width), "".join(letter for _, letter in group))
        for slot, group in groupby(placed, key=lambda pair: pair[0])
    ]
