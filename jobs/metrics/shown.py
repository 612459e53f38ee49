"""What of a tally a scrape shows: pure.

A series that begins with 1 has lost its first event: `increase()` sees a
change only between two samples. So what is new is shown as 0 first, for
longer than the minute that lies between two scrapes.
"""

from __future__ import annotations

from jobs.metrics.counting import RUN_BOUNDS, WAIT_BOUNDS, Histogram, Tally
from jobs.metrics.families import bounds_of

SHOWN_AFTER = 70.0
RUN_LABELS, WAIT_LABELS = bounds_of(RUN_BOUNDS), bounds_of(WAIT_BOUNDS)


def settled(born: float, now: float) -> bool:
    """Whether what was born then is shown as it is; times are seconds since the epoch."""
    return now - born > SHOWN_AFTER


def count(tally: Tally, kind: int, now: float) -> int:
    return tally.counts[kind] if settled(tally.born, now) else 0


def observed(tally: Tally, histogram: Histogram, now: float) -> Histogram:
    """One of its histograms."""
    return histogram if settled(tally.born, now) else [0] * len(histogram)
