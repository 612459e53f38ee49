"""How busy the shop is at a moment: quiet spells, a steady hum, bursts."""

from __future__ import annotations

from itertools import accumulate

# One cycle: (seconds, how busy), in parts of the usual rate.
CYCLE = ((45, 0.9), (6, 3.4), (39, 1.0), (24, 0.25), (12, 2.0), (54, 0.8))
LENGTH = sum(seconds for seconds, _ in CYCLE)
MEAN = sum(seconds * busy for seconds, busy in CYCLE) / LENGTH
# Every cycle of five is as busy as this, so that two quarters of an hour differ.
TIDE = (0.8, 1.0, 1.3, 1.1, 0.8)
ENDS = tuple(accumulate(seconds for seconds, _ in CYCLE))


def rate(at: float, jobs_per_hour: float) -> float:
    """Jobs a second at `at` (seconds since the epoch); over whole hours the mean is `jobs_per_hour`."""
    cycle, second = divmod(at, LENGTH)
    busy = next(busy for end, (_, busy) in zip(ENDS, CYCLE, strict=True) if second < end)
    return jobs_per_hour / 3600 * busy / MEAN * TIDE[int(cycle) % len(TIDE)]
