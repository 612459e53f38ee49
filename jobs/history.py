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
from typing import Any

from django.db.models import CharField, F, IntegerField, Min, Sum, Value

from jobs.headlines import HOUR, MINUTE, NOTHING, RECENT_MINUTES, TREND_HOURS, Flow, total
from jobs.liveness import seconds_since
from jobs.models import Bucket, QueueSample, Visible, WorkerSample
from jobs.piles import Pile
from jobs.rollups import Sketch
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
    """Counts of the last day by hour and by task, of the last hour by minute and queue.

    `lately` are those of each task in the last 15 whole minutes and the running one.
    """

    hours: Mapping[int, Flow]
    before_day: Flow
    minutes: Mapping[int, Flow]
    queues: Mapping[str, Mapping[int, Flow]]
    first_hour: int | None
    tasks: Mapping[str, Flow] = field(default_factory=dict)
    lately: Mapping[str, Flow] = field(default_factory=dict)

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


# What happened in a bucket, in the order of Flow's fields; and in many of them.
FLOW = {
    "published_": F("published"),
    "started_": F("started"),
    "retried_": F("retried"),
    "succeeded_": F("succeeded"),
    "failed_": F("failed"),
    "stopped_": F("revoked") + F("rejected"),
}
FLOW_SUMS = {name: Sum(count) for name, count in FLOW.items()}


def read_traffic(cluster_id: int, now: float, scope: Scope = EVERYTHING) -> Traffic:
    """Two statements over buckets; their cost grows with tasks and queues, not with jobs."""
    counted = _counted(Bucket.objects.within(scope).filter(cluster=cluster_id), now)
    minutes: dict[int, Flow] = defaultdict(Flow)
    queues: dict[str, dict[int, Flow]] = defaultdict(dict)
    for (minute, queue), flow in counted["minute"].items():
        queues[queue][minute] = flow
        minutes[minute] += flow
    return Traffic(
        hours={hour: flow for (hour, _), flow in counted["hour"].items()},
        before_day=total(counted["before"].values()),
        minutes=dict(minutes),
        queues=dict(queues),
        first_hour=read_first_hour(cluster_id),
        tasks={task: flow for (_, task), flow in counted["task"].items()},
        lately={task: flow for (_, task), flow in counted["lately"].items()},
    )


def _counted(buckets: Visible, now: float) -> dict[str, dict[tuple[int, str], Flow]]:
    """What was counted, under its part's name and by (start, queue or task); one statement."""
    day_ago = int((now - TREND_HOURS * HOUR) // MINUTE)
    oldest_hour = day_ago * MINUTE // HOUR
    hours = buckets.filter(tier=Bucket.HOUR, start__gte=oldest_hour)
    minutes = buckets.filter(tier=Bucket.MINUTE)
    before = minutes.filter(start__gte=oldest_hour * HOUR // MINUTE, start__lt=day_ago)
    parts = (
        _part(hours, "hour", F("start"), NO_NAME),
        _part(before, "before", NO_START, NO_NAME),
        _part(minutes.filter(start__gte=window(now).start), "minute", F("start"), F("queue")),
        _part(hours, "task", NO_START, F("task")),
        _part(minutes.filter(start__gte=int(now // MINUTE) - RECENT_MINUTES), "lately", NO_START, F("task")),
    )
    found: dict[str, dict[tuple[int, str], Flow]] = defaultdict(dict)
    for part, start, name, *counts in parts[0].union(*parts[1:], all=True):
        found[part][start, name] = _flow(counts)
    return found


NO_START, NO_NAME = Value(0, IntegerField()), Value("", CharField())


def _part(rows: Visible, part: str, start: F | Value, name: F | Value) -> Any:
    named = rows.order_by().annotate(part=Value(part, CharField()), at=start, name=name)
    return named.values_list("part", "at", "name").annotate(**FLOW_SUMS)


def read_first_hour(cluster_id: int) -> int | None:
    """The first hour in which a job was counted, in hours since the epoch."""
    hours = Bucket.objects.filter(cluster=cluster_id, tier=Bucket.HOUR)
    first: int | None = hours.aggregate(first=Min("start"))["first"]
    return first


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
    piles: dict[int, Pile] = defaultdict(lambda: Pile("total"))
    for minute, sketches in rows.values_list("start", "sketches"):
        piles[minute].add(sketches)
    return {minute: pile.sketch("total") for minute, pile in piles.items()}


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
