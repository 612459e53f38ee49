"""Which queues have series of their own: pure."""

from __future__ import annotations

from collections.abc import Sequence

from jobs.metrics.counting import OTHER
from jobs.models import QueueSample

MOST_QUEUES = 500


def deepest(samples: Sequence[QueueSample]) -> list[tuple[str, list[QueueSample]]]:
    """The deepest queues each by its name, and all beyond MOST_QUEUES as one of the name `other`."""
    by_depth = sorted(samples, key=lambda sample: (-(sample.depth or 0), sample.queue))
    alone = sorted(by_depth[:MOST_QUEUES], key=lambda sample: sample.queue)
    rest = by_depth[MOST_QUEUES:]
    return [*((sample.queue, [sample]) for sample in alone), *([(OTHER, rest)] if rest else [])]
