"""What the last hour and the last day held: read flatly, whatever the number of jobs.

Counts come from buckets, depth and capacity from samples. What can't change
any more is kept in a `Memory` from frame to frame; it is a cache, never a
source: a frame made with an empty one is the same frame.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from django.db.models import Case, F, Min, Q, QuerySet, Subquery, Sum, When

from jobs.headlines import HOUR, MINUTE, NOTHING, TREND_HOURS, Flow, total
from jobs.liveness import seconds_since
from jobs.models import Bucket, QueueSample, Visible, WorkerSample
from jobs.rollups import Sketch, Sketches
from jobs.scopes import EVERYTHING, Scope

WINDOW_MINUTES = 60
SAMPLES_SETTLE_AFTER = 10.0
MOST_SCOPES = 50


@dataclass(frozen=True, slots=True)
class QueueMinute:
    """How a queue stood in one minute: its last sample, and the oldest wait seen in it (seconds).

    `unacked` and `priorities` (JSON) are those of the sample.
    """

    at: datetime
    depth: int | None
    oldest_at: datetime | None
    oldest: float | None
    unacked: int | None = None
    priorities: str | None = None


@dataclass
class Memory:
    """Finished minutes of one cluster, by minute since the epoch, as one scope shows them.

    `waits` has the waits in one queue, whose page somebody looks at, by queue and minute.
    `narrower` are those of other scopes, the one used last at the end.
    """

    latency: dict[int, tuple[tuple[int, int], Sketch]] = field(default_factory=dict)
    queues: dict[int, dict[str, QueueMinute]] = field(default_factory=dict)
    busy: dict[int, float | None] = field(default_factory=dict)
    waits: dict[tuple[str, int], tuple[tuple[int, int], Sketch]] = field(default_factory=dict)
    narrower: dict[Scope, Memory] = field(default_factory=dict)

    def within(self, scope: Scope) -> Memory:
        """The memory of what this scope shows."""
        if scope == EVERYTHING:
            return self
        memory = self.narrower.pop(scope) if scope in self.narrower else Memory()
        self.narrower[scope] = memory
        for oldest in list(self.narrower)[:-MOST_SCOPES]:
            self.narrower.pop(oldest, None)
        return memory

    def forget_before(self, minute: int) -> None:
        """Drop what no frame will ask for again."""
        self.latency = {key: kept for key, kept in list(self.latency.items()) if key >= minute}
        self.queues = {key: kept for key, kept in list(self.queues.items()) if key >= minute}
        self.busy = {key: kept for key, kept in list(self.busy.items()) if key >= minute}
        self.waits = {key: kept for key, kept in list(self.waits.items()) if key[1] >= minute}


@dataclass(frozen=True)
class Traffic:
    """Counts of the last day by hour, of the last hour by minute and queue."""

    hours: Mapping[int, Flow]
    before_day: Flow
    minutes: Mapping[int, Flow]
    queues: Mapping[str, Mapping[int, Flow]]
    first_hour: int | None

    @property
    def began(self) -> int | None:
        """Seconds since the epoch of the first recorded hour; None if no job was ever counted."""
        return None if self.first_hour is None else self.first_hour * HOUR

    def first_minute(self, now: float) -> int | None:
        """The minute in which the record began, if that matters to figures of the last hour."""
        if self.first_hour is None:
            return None
        window = int(now // MINUTE) - WINDOW_MINUTES
        if self.first_hour * HOUR < window * MINUTE:
            return window
        return min(self.minutes, default=None)


def window(now: float) -> range:
    """The last sixty minutes, the running one included."""
    running = int(now // MINUTE)
    return range(running - WINDOW_MINUTES + 1, running + 1)


_FLOW = {
    "published_": Sum("published"),
    "started_": Sum("started"),
    "retried_": Sum("retried"),
    "succeeded_": Sum("succeeded"),
    "failed_": Sum("failed"),
    "stopped_": Sum(F("revoked") + F("rejected")),
}


def read_traffic(cluster_id: int, now: float, scope: Scope = EVERYTHING) -> Traffic:
    """Two statements over buckets, three if the last day held nothing.

    Their cost grows with tasks and queues, not with jobs.
    """
    buckets = Bucket.objects.within(scope).filter(cluster=cluster_id)
    day_ago = int((now - TREND_HOURS * HOUR) // MINUTE)
    oldest_hour = day_ago * MINUTE // HOUR
    hours, first_hour = _read_hours(buckets, oldest_hour, cluster_id)
    before_day = range(oldest_hour * HOUR // MINUTE, day_ago)
    minutes, queues, before = _read_minutes(buckets, window(now).start, before_day)
    return Traffic(hours, before, minutes, queues, first_hour)


def _read_hours(buckets: Visible, oldest: int, cluster_id: int) -> tuple[dict[int, Flow], int | None]:
    """The hours from `oldest` on, and the first hour of all."""
    rows = list(
        buckets.filter(tier=Bucket.HOUR, start__gte=oldest)
        .order_by()
        .values_list("start")
        .annotate(**_FLOW, first=Subquery(_hours(cluster_id).order_by("start").values("start")[:1]))
    )
    first = rows[0][-1] if rows else read_first_hour(cluster_id)
    return {row[0]: _flow(row[1:-1]) for row in rows}, first


def read_first_hour(cluster_id: int) -> int | None:
    """The first hour in which a job was counted, in hours since the epoch."""
    first: int | None = _hours(cluster_id).aggregate(first=Min("start"))["first"]
    return first


def _hours(cluster_id: int) -> QuerySet[Bucket]:
    return Bucket.objects.filter(cluster=cluster_id, tier=Bucket.HOUR)


def _read_minutes(
    buckets: Visible, first: int, before_day: range
) -> tuple[dict[int, Flow], dict[str, dict[int, Flow]], Flow]:
    """The minutes from `first` on, the same by queue, and all of those long before; one statement."""
    lately = Q(start__gte=first)
    long_before = Q(start__gte=before_day.start, start__lt=before_day.stop)
    rows = (
        buckets.filter(lately | long_before, tier=Bucket.MINUTE)
        .order_by()
        .annotate(minute=Case(When(lately, then=F("start"))))
        .values_list("minute", "queue")
        .annotate(**_FLOW)
    )
    minutes: dict[int, Flow] = {}
    queues: dict[str, dict[int, Flow]] = defaultdict(dict)
    before = NOTHING
    for minute, queue, *counts in rows:
        flow = _flow(counts)
        if minute is None:
            before += flow
            continue
        queues[queue][minute] = flow
        minutes[minute] = minutes.get(minute, NOTHING) + flow
    return minutes, dict(queues), before


def _flow(counts: Iterable[int | None]) -> Flow:
    return Flow(*(count or 0 for count in counts))


def read_latency(
    cluster_id: int, minutes: Mapping[int, Flow], memory: Memory, scope: Scope = EVERYTHING
) -> dict[int, Sketch]:
    """The sketch of queued-to-complete for each minute, read again only where its counts have moved."""
    judged = {minute: (flow.succeeded, flow.failed) for minute, flow in minutes.items()}
    kept = {
        minute: sketch
        for minute, (counts, sketch) in list(memory.latency.items())
        if judged.get(minute) == counts
    }
    buckets = Bucket.objects.within(scope).filter(cluster=cluster_id)
    unread = [minute for minute in judged if minute not in kept and any(judged[minute])]
    fresh = _read_sketches(buckets, unread)
    memory.latency.update({minute: (judged[minute], sketch) for minute, sketch in fresh.items()})
    return {**kept, **fresh}


def _read_sketches(buckets: Visible, minutes: list[int]) -> dict[int, Sketch]:
    rows = buckets.filter(tier=Bucket.MINUTE, start__in=minutes)
    by_minute: dict[int, list[Sketch]] = defaultdict(list)
    for minute, text in rows.values_list("start", "sketches"):
        by_minute[minute].append(Sketches.loads(text).ended("total"))
    return {minute: merged(sketches) for minute, sketches in by_minute.items()}


def merged(sketches: Iterable[Sketch]) -> Sketch:
    """One sketch of them all."""
    whole = Sketch()
    for sketch in sketches:
        whole.merge(sketch)
    return whole


def read_queues(
    cluster_id: int, now: datetime, memory: Memory, scope: Scope = EVERYTHING
) -> dict[int, dict[str, QueueMinute]]:
    """How each queue stood in each minute of the last hour; one statement, of new samples only."""
    unread = _unread(memory.queues, now)
    rows = (
        QueueSample.objects.within(scope)
        .filter(cluster=cluster_id, at__gte=_start_of(unread))
        .order_by("at")
        .values_list("queue", "at", "depth", "oldest_at", "unacked", "priorities")
    )
    fresh: dict[int, dict[str, QueueMinute]] = {
        minute: {} for minute in range(unread, window(now.timestamp()).stop)
    }
    for queue, *sampled in rows:
        of_minute = fresh.setdefault(_minute_of(sampled[0]), {})
        of_minute[queue] = _folded(of_minute.get(queue), *sampled)
    memory.queues.update({minute: read for minute, read in fresh.items() if _settled(minute, now)})
    return {
        minute: read
        for minute, read in {**memory.queues, **fresh}.items()
        if minute in window(now.timestamp())
    }


def _folded(
    before: QueueMinute | None,
    at: datetime,
    depth: int | None,
    oldest_at: datetime | None,
    unacked: int | None,
    priorities: str | None,
) -> QueueMinute:
    age = 0.0 if depth == 0 else None if oldest_at is None else seconds_since(oldest_at, at)
    ages = [known for known in (age, before.oldest if before else None) if known is not None]
    return QueueMinute(at, depth, oldest_at, max(ages, default=None), unacked, priorities)


def read_busy(cluster_id: int, now: datetime, memory: Memory) -> dict[int, float | None]:
    """The share of busy slots in each minute of the last hour; one statement, of new samples only."""
    unread = _unread(memory.busy, now)
    rows = (
        WorkerSample.objects.filter(cluster=cluster_id, at__gte=_start_of(unread))
        .order_by("at")
        .values_list("at", "busy", "slots")
    )
    fresh: dict[int, float | None] = dict.fromkeys(range(unread, window(now.timestamp()).stop))
    for at, busy, slots in rows:
        if busy is not None and slots:
            fresh[_minute_of(at)] = min(1.0, busy / slots)
    memory.busy.update({minute: read for minute, read in fresh.items() if _settled(minute, now)})
    return {
        minute: read for minute, read in {**memory.busy, **fresh}.items() if minute in window(now.timestamp())
    }


def _unread(kept: Mapping[int, object], now: datetime) -> int:
    """The first minute of the window that is not kept."""
    minutes = window(now.timestamp())
    return next((minute for minute in minutes if minute not in kept), minutes.stop - 1)


def _settled(minute: int, now: datetime) -> bool:
    return now.timestamp() > (minute + 1) * MINUTE + SAMPLES_SETTLE_AFTER


def _minute_of(at: datetime) -> int:
    return int(at.timestamp() // MINUTE)


def _start_of(minute: int) -> datetime:
    return datetime.fromtimestamp(minute * MINUTE, UTC)


def flow_of_last(minutes: Mapping[int, Flow], now: float, count: int) -> Flow:
    """The last `count` whole minutes and the running one."""
    running = int(now // MINUTE)
    return total(minutes.get(minute, NOTHING) for minute in range(running - count, running + 1))
