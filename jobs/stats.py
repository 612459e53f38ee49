"""What happened in a span, from buckets: their cost grows with steps, tasks and queues, not with jobs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from jobs.models import Bucket
from jobs.rollups import COUNTS, MEASURES, Sketch, Sketches, Tally

if TYPE_CHECKING:
    from django.contrib.auth.base_user import AbstractBaseUser
    from django.contrib.auth.models import AnonymousUser

TIERS = (Bucket.MINUTE, Bucket.HOUR, Bucket.DAY)
MOST_STEPS = 1_500
MOST_BUCKETS = 50_000
# The longest span, in steps, for which a tier is chosen by itself.
FINE_UNTIL = {Bucket.MINUTE: 360, Bucket.HOUR: 720}
EARLIEST, LATEST = datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Span:
    """Whole steps of `step` seconds: those from `first` until before `after`, counted since the epoch."""

    step: int
    first: int
    after: int

    @classmethod
    def around(cls, since: datetime, until: datetime, step: int | None) -> Span:
        """The span that holds all between two moments. Raises ValueError where that makes no sense."""
        if not EARLIEST <= since < until <= LATEST:
            raise ValueError("since must be before until, and both in the years from 2000 to 2099")
        begin, end = since.timestamp(), until.timestamp()
        chosen = step or fitting(end - begin)
        if chosen not in TIERS:
            raise ValueError("a step is 60, 3600 or 86400 seconds")
        span = cls(chosen, int(begin // chosen), int(-(-end // chosen)))
        if span.after - span.first > MOST_STEPS:
            raise ValueError(f"these are more than {MOST_STEPS} steps: take wider ones")
        return span

    def at(self, number: int) -> datetime:
        """When a step begins."""
        return datetime.fromtimestamp(number * self.step, UTC)


def fitting(seconds: float) -> int:
    """The tier in which a span is told where nobody asks for one."""
    return next((tier for tier, most in FINE_UNTIL.items() if seconds <= tier * most), Bucket.DAY)


@dataclass
class Stats:
    """Counts of each step in which anything happened, and durations over the whole span by measure."""

    steps: dict[int, Tally] = field(default_factory=lambda: defaultdict(Tally))
    durations: dict[str, Sketch] = field(default_factory=lambda: {measure: Sketch() for measure in MEASURES})

    @property
    def total(self) -> dict[str, int]:
        """The counts of all steps by name."""
        return {name: sum(tally.counts[name] for tally in self.steps.values()) for name in COUNTS}

    def add(self, number: int, counts: Iterable[int], sketches: str) -> None:
        """One bucket more."""
        known = self.steps[number].counts
        for name, count in zip(COUNTS, counts, strict=True):
            known[name] += count
        told = Sketches.loads(sketches)
        for measure, whole in self.durations.items():
            whole.merge(told.ended(measure))


def read(
    cluster_id: int,
    user: AbstractBaseUser | AnonymousUser,
    span: Span,
    task: str | None = None,
    queue: str | None = None,
) -> Stats:
    """What `user` may see of a span; one statement. Raises ValueError where it would be too much to read."""
    named = {name: value for name, value in (("task", task), ("queue", queue)) if value is not None}
    rows = Bucket.objects.visible_to(user).filter(
        cluster=cluster_id, tier=span.step, start__gte=span.first, start__lt=span.after, **named
    )
    stats = Stats()
    for seen, (number, sketches, *counts) in enumerate(
        rows.order_by().values_list("start", "sketches", *COUNTS)[: MOST_BUCKETS + 1]
    ):
        if seen == MOST_BUCKETS:
            raise ValueError("this is too much at once: take wider steps, or name a task or a queue")
        stats.add(number, counts, sketches)
    return stats
