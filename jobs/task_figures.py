"""What tasks did in a window: counts, trends and durations from buckets, whatever the number of jobs.

All tasks are looked at by the fewest buckets that make up the window, one or a few of them step by step:
then each step is one look into the index.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from django.db.models import Count, F, Min, Sum

from jobs.headlines import Flow
from jobs.history import FLOW, FLOW_SUMS
from jobs.models import Bucket
from jobs.piles import Pile
from jobs.scopes import Scope
from jobs.task_windows import Span, Tiles

# Tasks among which the worst are looked for; rows whose durations are merged for one task, and for a list.
MOST_TASKS, MOST_BUCKETS, MOST_OF_LIST = 1_000, 5_000, 2_500
# The normal quantile of the confidence with which a share of failures is told (99 %).
CONFIDENCE = 2.576


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
    """One task in the window, and how many buckets tell of it."""

    task: str
    counts: Flow
    buckets: int


ANYTHING = F("published_") + F("started_") + F("retried_") + F("succeeded_") + F("failed_") + F("stopped_")


def read_tasks(cluster_id: int, scope: Scope, span: Span, search: str) -> list[Whole]:
    """Tasks whose name holds `search`, those with the most failures, then the most jobs; one statement."""
    tiles = span.of_all()
    rows = Bucket.objects.within(scope).filter(tiles.rows, cluster=cluster_id)
    rows = rows.filter(task__icontains=search) if search else rows
    told = (
        rows.order_by()
        .values_list("task")
        .annotate(**_sums(tiles), buckets=Count("pk"), anything=ANYTHING)
        .filter(anything__gt=0)
        .order_by("-failed_", "-started_", "task")[: MOST_TASKS + 1]
    )
    return [Whole(task, Flow(*counts), buckets) for task, *counts, buckets, _ in told]


def _sums(tiles: Tiles) -> dict[str, Sum]:
    """What happened in all of these buckets."""
    return (
        FLOW_SUMS if tiles.sign == 1 else {name: Sum(count * tiles.weights) for name, count in FLOW.items()}
    )


def worst_first(tasks: Iterable[Whole]) -> list[Whole]:
    """By the share of failures that their number bears out, then by the number of jobs. Pure."""
    return sorted(tasks, key=lambda told: (-badness(told.counts), -told.counts.ended, told.task))


def within_budget(tasks: Iterable[Whole], most: int = MOST_OF_LIST) -> list[str]:
    """The first of these tasks whose buckets are together no more than a page may read. Pure."""
    chosen, left = [], most
    for told in tasks:
        left -= told.buckets
        if left < 0:
            break
        chosen.append(told.task)
    return chosen


Bars = dict[int, list[int]]


def read_bars(cluster_id: int, scope: Scope, tasks: Collection[str], span: Span) -> dict[str, Bars]:
    """How many jobs of each task ended and failed in each bar of the span; one statement."""
    tiles, weighed = span.of_bars(), span.of_bars().weights
    rows = (
        Bucket.objects.within(scope).filter(tiles.rows, cluster=cluster_id, task__in=list(tasks)).order_by()
    )
    told = rows.values_list("task", "tier", "start").annotate(
        ended=Sum(ENDED * weighed), bad=Sum(F("failed") * weighed)
    )
    found: dict[str, Bars] = defaultdict(dict)
    for task, tier, start, ended, failed in told:
        known = found[task].setdefault(start * tier // span.bar, [0, 0])
        known[0] += ended
        known[1] += failed
    return found


ENDED = F("succeeded") + F("failed") + F("revoked") + F("rejected")


@dataclass
class Part:
    """What is known of a task, or of one queue of it: `counted` is anything that happened."""

    counted: int = 0
    steps: Bars = field(default_factory=dict)
    queues: dict[str, Part] = field(default_factory=dict)
    durations: Pile = field(default_factory=lambda: Pile("wait", "run"))

    def add(self, step: int, flow: Flow, sketches: str, weight: int) -> None:
        """One bucket more; `step` is counted in tiers."""
        known = self.steps.setdefault(step, [0, 0])
        known[0] += weight * flow.ended
        known[1] += weight * flow.failed
        self.durations.add(sketches, weight)


def read_parts(
    cluster_id: int, scope: Scope, tasks: Collection[str], tiles: Tiles, *, by_queue: bool = False
) -> dict[str, Part]:
    """Steps, queues and durations of these tasks, from MOST_BUCKETS; one statement."""
    rows = (
        Bucket.objects.within(scope).filter(tiles.rows, cluster=cluster_id, task__in=list(tasks)).order_by()
    )
    told = rows.annotate(**FLOW).values_list("task", "queue", "tier", "start", "sketches", *FLOW)
    found: dict[str, Part] = {}
    for task, queue, tier, start, sketches, *counts in told[:MOST_BUCKETS]:
        part, flow, weight = found.setdefault(task, Part()), Flow(*counts), tiles.weight(tier)
        part.add(start, flow, sketches, weight)
        of_queue = part.queues.setdefault(queue, Part())
        of_queue.counted += weight * sum(counts)
        if by_queue:
            of_queue.add(start, flow, sketches, weight)
    return found


class OfQueue(NamedTuple):
    """What one task did in one queue, in so many buckets."""

    counts: Flow
    buckets: int


def read_queues(cluster_id: int, scope: Scope, task: str, span: Span) -> dict[str, OfQueue]:
    """All that one task did, by queue, however many buckets that is; one statement."""
    rows = Bucket.objects.within(scope).filter(span.of_few().rows, cluster=cluster_id, task=task)
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
