"""How jobs ended lately, and how long they took: from buckets, so the cost grows with tasks, not jobs."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from django.db.models import Max, QuerySet, Sum

from jobs.alerts.shapes import Ends, EndsBy, Place, SuccessFacts, grouped, queue_of_each
from jobs.models import Bucket
from jobs.rollups import Sketch, Sketches

HOUR = timedelta(hours=1)
# Longer spans are read by the hour.
BY_MINUTE_UP_TO = timedelta(hours=6)
REMEMBERED = timedelta(days=30)
USUAL_KEPT_FOR = timedelta(minutes=5)

# Thousands of sketches are merged for a percentile, which moves slowly.
SKETCHES_EVERY = timedelta(seconds=14)
# No window of a percentile is longer.
SKETCHES_KEPT_FOR = timedelta(hours=1, minutes=1)

# A minute, its place and a measure.
SketchKey = tuple[int, Place, str]


@dataclass
class Memory:
    """Sketches of minutes by what was counted when they were read, and what is usual. A cache, no source."""

    sketches: dict[SketchKey, tuple[tuple[int, int], Sketch]] = field(default_factory=dict)
    merged: dict[tuple[timedelta, str], tuple[datetime, dict[Place, Sketch]]] = field(default_factory=dict)
    usual: dict[int, tuple[datetime, EndsBy]] = field(default_factory=dict)

    def forget_before(self, minute: int) -> None:
        """Drop what no window reaches any more."""
        self.sketches = {key: kept for key, kept in self.sketches.items() if key[0] >= minute}


def minute_of(at: datetime) -> int:
    """Whole minutes since the epoch."""
    return int(at.timestamp() // Bucket.MINUTE)


def read_ends(cluster_id: int, now: datetime, window: timedelta) -> EndsBy:
    """How jobs ended in the whole minutes that a window touches; one statement."""
    tier = Bucket.MINUTE if window <= BY_MINUTE_UP_TO else Bucket.HOUR
    rows = _of(cluster_id, tier).filter(start__gte=int((now - window).timestamp() // tier))
    return _ends(rows)


def read_failed(cluster_id: int, now: datetime, window: timedelta) -> dict[str, dict[int, int]]:
    """How many jobs of each task that failed did so in each minute that a window touches; one statement."""
    rows = _of(cluster_id, Bucket.MINUTE).filter(start__gte=minute_of(now - window), failed__gt=0)
    found: dict[str, dict[int, int]] = {}
    for task, minute, failed in rows.order_by().values_list("task", "start").annotate(Sum("failed")):
        found.setdefault(task, {})[minute] = failed
    return found


def read_usual(cluster_id: int, now: datetime, days: int, memory: Memory) -> EndsBy:
    """How jobs ended in the days before the last whole hour; one statement every few minutes."""
    kept = memory.usual.get(days)
    if kept is None or not now - USUAL_KEPT_FOR < kept[0] <= now:
        until = int((now - HOUR).timestamp() // Bucket.HOUR)
        rows = _of(cluster_id, Bucket.HOUR).filter(start__gte=until - days * 24, start__lt=until)
        kept = memory.usual[days] = (now, _ends(rows))
    return kept[1]


def _of(cluster_id: int, tier: int) -> QuerySet[Bucket]:
    return Bucket.objects.filter(cluster=cluster_id, tier=tier)


def _ends(rows: QuerySet[Bucket]) -> EndsBy:
    sums = rows.order_by().values_list("task", "queue").annotate(Sum("succeeded"), Sum("failed"))
    return {Place(task, queue): Ends(good, bad) for task, queue, good, bad in sums}


def read_taken(cluster_id: int, now: datetime, window: timedelta) -> dict[str, int]:
    """How many jobs started, by queue, in the whole minutes that a window touches; one statement."""
    rows = _of(cluster_id, Bucket.MINUTE).filter(start__gte=minute_of(now - window))
    return dict(rows.order_by().values_list("queue").annotate(Sum("started")))


def read_sketches(
    cluster_id: int, now: datetime, window: timedelta, measure: str, memory: Memory
) -> dict[Place, Sketch]:
    """What jobs that ended took, of the minutes that a window touches; looked at again every few seconds."""
    kept = memory.merged.get((window, measure))
    if kept is None or not now - SKETCHES_EVERY < kept[0] <= now:
        kept = memory.merged[window, measure] = (now, _merged(cluster_id, now, window, measure, memory))
    return kept[1]


def _merged(
    cluster_id: int, now: datetime, window: timedelta, measure: str, memory: Memory
) -> dict[Place, Sketch]:
    """Only the minutes are read that have changed."""
    rows = _of(cluster_id, Bucket.MINUTE).filter(start__gte=minute_of(now - window))
    columns = ("start", "task", "queue", "succeeded", "failed")
    counts: dict[SketchKey, tuple[int, int]] = {
        (start, Place(task, queue), measure): (good, bad)
        for start, task, queue, good, bad in rows.order_by().values_list(*columns)
        if good or bad
    }
    memory.forget_before(minute_of(now - SKETCHES_KEPT_FOR))
    _read_changed(rows, counts, memory, measure)
    merged: dict[Place, Sketch] = {}
    for key in counts:
        if key in memory.sketches:
            merged.setdefault(key[1], Sketch()).merge(memory.sketches[key][1])
    return merged


def _read_changed(
    rows: QuerySet[Bucket], counts: dict[SketchKey, tuple[int, int]], memory: Memory, measure: str
) -> None:
    changed = {key for key, told in counts.items() if memory.sketches.get(key, (None,))[0] != told}
    columns = ("start", "task", "queue", "succeeded", "failed", "sketches")
    minutes = {start for start, _, _ in changed}
    for start, task, queue, good, bad, text in rows.filter(start__in=minutes).values_list(*columns):
        if (key := (start, Place(task, queue), measure)) in changed:
            memory.sketches[key] = ((good, bad), Sketches.loads(text).ended(measure))


def success_facts(ends: EndsBy, last: dict[str, datetime]) -> list[SuccessFacts]:
    """How each task ended, with its latest success. Pure."""
    tasks, queues = grouped(ends, "task"), queue_of_each(ends)
    return [
        SuccessFacts(task, queues.get(task), tasks.get(task, Ends()), last.get(task))
        for task in sorted(tasks.keys() | last.keys())
    ]


def read_last_success(cluster_id: int, now: datetime, tasks: Collection[str]) -> dict[str, datetime]:
    """The end of the latest hour in which each of them succeeded, of the last 30 days; one statement."""
    if not tasks:
        return {}
    since = int((now - REMEMBERED).timestamp() // Bucket.HOUR)
    rows = _of(cluster_id, Bucket.HOUR).filter(start__gte=since, task__in=tasks, succeeded__gt=0)
    latest: Iterable[tuple[str, int]] = rows.order_by().values_list("task").annotate(Max("start"))
    return {task: min(now, datetime.fromtimestamp((hour + 1) * 3600, UTC)) for task, hour in latest}
