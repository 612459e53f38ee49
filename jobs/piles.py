"""Durations of very many buckets, added up from what is stored of them: pure.

A page reads thousands of sketches and shows a few percentiles, so only the measures that it
asks for are decoded.
"""

from __future__ import annotations

from collections import defaultdict
from functools import cache
from typing import Any, Literal

import msgspec

from jobs.rollups import SKETCHED, Sketch

Measure = Literal["wait", "run", "total"]


class Stored(msgspec.Struct):
    """A sketch as `jobs.rollups.Sketch.as_json` has it."""

    n: int
    us: int
    b: dict[int, int]


class Pile:
    """Durations of jobs that succeeded or failed, by measure."""

    __slots__ = ("_bins", "_decode", "_sums", "measures")

    def __init__(self, *measures: Measure) -> None:
        self.measures = measures
        self._decode = _decoder(measures).decode
        self._sums = {measure: [0, 0] for measure in measures}
        self._bins: dict[Measure, dict[int, int]] = {measure: defaultdict(int) for measure in measures}

    def add(self, sketches: str, weight: int = 1) -> None:
        """The sketches of one bucket, as it stores them; weight -1 takes them away again."""
        told = self._decode(sketches)
        for outcome in SKETCHED:
            of_outcome = getattr(told, outcome)
            for measure in self.measures if of_outcome is not None else ():
                self._add(measure, getattr(of_outcome, measure), weight)

    def _add(self, measure: Measure, stored: Stored | None, weight: int) -> None:
        if stored is None:
            return
        sums, bins = self._sums[measure], self._bins[measure]
        sums[0] += weight * stored.n
        sums[1] += weight * stored.us
        for key, n in stored.b.items():
            bins[key] += weight * n

    def sketch(self, measure: Measure) -> Sketch:
        """All of them as one sketch."""
        count, us = self._sums[measure]
        return Sketch(count, us, {key: n for key, n in self._bins[measure].items() if n})


@cache
def _decoder(measures: tuple[Measure, ...]) -> msgspec.json.Decoder[Any]:
    """Reads these measures of both outcomes, and skips the rest."""
    of_outcome = msgspec.defstruct("OfOutcome", [(measure, Stored | None, None) for measure in measures])
    named: Any = of_outcome | None
    return msgspec.json.Decoder(msgspec.defstruct("OfBucket", [(name, named, None) for name in SKETCHED]))
