"""What tasks did in a window: counts, trends and durations from buckets, whatever the number of jobs.

A window of days is read by whole days where all tasks are looked at, and by the hour for one of them:
then each hour is one look into the index.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import orjson
from django.db.models import Case, Count, F, Max, Min, Q, When

from jobs.headlines import Flow
from jobs.history import FLOW, FLOW_SUMS
from jobs.models import Bucket
from jobs.rollups import SKETCHED, Sketch
from jobs.scopes import Scope

Measure = Literal["wait", "run"]
MEASURES: tuple[Measure, ...] = ("wait", "run")
# Tasks among which the worst are looked for, and rows whose durations are merged for one page.
MOST_TASKS, MOST_BUCKETS = 1_000, 5_000
HOURS_A_DAY = Bucket.DAY // Bucket.HOUR
# The normal quantile of the confidence with which a share of failures is told (99 %).
CONFIDENCE = 2.576


@dataclass(frozen=True)
class Window:
    """What can be chosen: so many steps of `tier` seconds, the running one included."""

    name: str
    tier: int
    steps: int


WINDOWS = {
    window.name: window
    for window in (
        Window("1h", Bucket.MINUTE, 60),
        Window("24h", Bucket.HOUR, HOURS_A_DAY),
        Window("7d", Bucket.HOUR, 7 * HOURS_A_DAY),
    )
}


@dataclass(frozen=True)
class Span:
    """A window that ends now; steps are counted since the epoch, in tiers."""

    tier: int
    steps: range

    @classmethod
    def of(cls, window: Window, now: float) -> Span:
        running = int(now // window.tier)
        return cls(window.tier, range(running - window.steps + 1, running + 1))

    @property
    def begin(self) -> int:
        """Seconds since the epoch."""
        return self.steps.start * self.tier

    @property
    def bar(self) -> int:
        """Seconds of a bar in the trend of a list: a day where the window has more than one."""
        return Bucket.DAY if len(self.steps) > HOURS_A_DAY and self.tier == Bucket.HOUR else self.tier

    @property
    def bars(self) -> range:
        """The bars of such a trend, counted since the epoch."""
        return range(self.begin // self.bar, self.steps[-1] * self.tier // self.bar + 1)

    def of_all(self) -> Q:
        """Its buckets, whole days by the day."""
        if self.bar == self.tier:
            return Q(tier=self.tier, start__gte=self.steps.start)
        whole = -(-self.steps.start // HOURS_A_DAY)
        days = Q(tier=Bucket.DAY, start__gte=whole)
        return days | Q(tier=self.tier, start__gte=self.steps.start, start__lt=whole * HOURS_A_DAY)

    def of_few(self) -> Q:
        """Its buckets, one step at a time: for a condition that names tasks as well."""
        return Q(tier=self.tier, start__in=list(self.steps))


@dataclass(slots=True)
class Pile:
    """Durations of jobs that succeeded or failed, from many buckets; keys stay as they are stored."""

    count: int = 0
    us: int = 0
    bins: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    def add(self, stored: Mapping[str, object]) -> None:
        """A sketch as `jobs.rollups.Sketch.as_json` has it."""
        self.count += stored["n"]  # type: ignore[operator]
        self.us += stored["us"]  # type: ignore[operator]
        for key, n in stored["b"].items():  # type: ignore[attr-defined]
            self.bins[key] += n

    @property
    def sketch(self) -> Sketch:
        """The same as a sketch."""
        return Sketch(self.count, self.us, {int(key): n for key, n in self.bins.items() if n})


def badness(flow: Flow) -> float:
    """The share of failures that can be told from so many jobs: one failure of one job says little."""
    return at_least(flow.failed, flow.succeeded + flow.failed)


def at_least(failed: int, judged: int) -> float:
    """The lower end of Wilson's interval for a share."""
    if failed <= 0 or judged <= 0:
        return 0.0
    share, z = failed / judged, CONFIDENCE**2 / judged
    width = CONFIDENCE * math.sqrt(share * (1 - share) / judged + z / (4 * judged))
    return max(0.0, (share + z / 2 - width) / (1 + z))


class Whole(NamedTuple):
    """One task in the window: `failed_at` is when the last step in which it failed began, in seconds."""

    task: str
    counts: Flow
    failed_at: float | None
    buckets: int


def read_tasks(cluster_id: int, scope: Scope, span: Span, search: str, queue: str = "") -> list[Whole]:
    """Tasks whose name holds `search`, those with the most failures, then the most jobs; one statement."""
    rows = Bucket.objects.within(scope).filter(span.of_all(), cluster=cluster_id)
    rows = rows.filter(task__icontains=search) if search else rows
    rows = rows.filter(queue=queue) if queue else rows
    told = (
        rows.order_by()
        .values_list("task")
        .annotate(
            **FLOW_SUMS,
            failed_at=Max(Case(When(failed__gt=0, then=F("start") * F("tier")))),
            buckets=Count("pk"),
        )
        .order_by("-failed_", "-started_", "task")[: MOST_TASKS + 1]
    )
    return [Whole(task, Flow(*counts), failed_at, buckets) for task, *counts, failed_at, buckets in told]


def worst_first(tasks: Iterable[Whole]) -> list[Whole]:
    """By the share of failures that their number bears out, then by the number of jobs. Pure."""
    return sorted(tasks, key=lambda told: (-badness(told.counts), -told.counts.ended, told.task))


def within_budget(tasks: Iterable[Whole], most: int = MOST_BUCKETS) -> list[str]:
    """The first of these tasks whose buckets are together no more than a page may read. Pure."""
    chosen, left = [], most
    for told in tasks:
        left -= told.buckets
        if left < 0:
            break
        chosen.append(told.task)
    return chosen


@dataclass
class Part:
    """What is known of a task, or of one queue of it: counts by step (and tier), and durations."""

    steps: dict[int, list[int]] = field(default_factory=dict)
    queues: dict[str, Part] = field(default_factory=dict)
    durations: dict[Measure, Pile] = field(default_factory=lambda: {measure: Pile() for measure in MEASURES})

    def add(self, step: int, flow: Flow, sketches: Mapping[str, Mapping[str, Mapping[str, object]]]) -> None:
        """One bucket more; `step` is counted in bars."""
        known = self.steps.setdefault(step, [0, 0])
        known[0] += flow.ended
        known[1] += flow.failed
        for outcome in SKETCHED:
            for measure in MEASURES:
                if (stored := sketches.get(outcome, {}).get(measure)) is not None:
                    self.durations[measure].add(stored)

    def quantile(self, measure: Measure, q: float) -> float | None:
        return self.durations[measure].sketch.quantile(q)


def read_parts(
    cluster_id: int, scope: Scope, tasks: Collection[str], buckets: Q, bar: int, *, by_queue: bool = False
) -> dict[str, Part]:
    """Bars of so many seconds, queues and durations of these tasks, from MOST_BUCKETS; one statement."""
    rows = Bucket.objects.within(scope).filter(buckets, cluster=cluster_id, task__in=list(tasks)).order_by()
    told = rows.annotate(**FLOW).values_list("task", "queue", "tier", "start", "sketches", *FLOW)
    found: dict[str, Part] = {}
    for task, queue, tier, start, text, *counts in told[:MOST_BUCKETS]:
        part, flow, sketches = found.setdefault(task, Part()), Flow(*counts), orjson.loads(text)
        step = start * tier // bar
        part.add(step, flow, sketches)
        of_queue = part.queues.setdefault(queue, Part())
        if by_queue:
            of_queue.add(step, flow, sketches)
    return found


class OfQueue(NamedTuple):
    """What one task did in one queue, in so many buckets."""

    counts: Flow
    buckets: int


def read_queues(cluster_id: int, scope: Scope, task: str, span: Span) -> dict[str, OfQueue]:
    """All that one task did, by queue, however many buckets that is; one statement."""
    rows = Bucket.objects.within(scope).filter(span.of_few(), cluster=cluster_id, task=task)
    told = rows.order_by().values_list("queue").annotate(**FLOW_SUMS, buckets=Count("pk"))
    return {queue: OfQueue(Flow(*counts), buckets) for queue, *counts, buckets in told}


def read_first_days(
    cluster_id: int, scope: Scope, tasks: Collection[str], now: float, days: int
) -> dict[str, int]:
    """The first of the last `days` days on which each of them was heard of, in days; one statement."""
    today = int(now // Bucket.DAY)
    rows = Bucket.objects.within(scope).filter(
        cluster=cluster_id,
        tier=Bucket.DAY,
        start__in=list(range(today - days + 1, today + 1)),
        task__in=list(tasks),
    )
    return dict(rows.order_by().values_list("task").annotate(Min("start")))
