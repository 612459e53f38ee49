"""The system at an earlier minute: the hour before it, from buckets and samples; what has no history is None.

A moment is a whole minute, seen at its end: buckets of minutes then hold nothing that came later.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Q

from jobs import fleet, history, past_span
from jobs.headlines import HOUR, MINUTE, NOTHING, TREND_HOURS, Flow
from jobs.history import Memory, QueueMinute, Traffic
from jobs.liveness import SAMPLE_STALE_AFTER, WorkerState, seconds_since, worker_states
from jobs.models import Bucket, QueueSample, Worker, WorkerSample
from jobs.past_span import Happened, PastSpan
from jobs.rollups import Sketch
from jobs.scopes import Scope
from jobs.seen import DEAD_SHOWN_FOR, MOST_WORKERS

ALMOST = timedelta(microseconds=1)
# Of the hour in which the last 24 began, the minutes before them are taken away.
DAY_IN_FULL = timedelta(hours=TREND_HOURS + 1)
EACH_KEPT_EVERY = timedelta(seconds=90)


@dataclass(frozen=True)
class Then:
    """What is known of a minute. `capacity` is None where nobody looked.

    `day_is_whole`: whether the minutes with which the 24 hours before it began are still kept;
    `minutes_kept`: whether those of the minute itself are. `span` ends with it, and `happened` is
    what was counted in it, if they were asked for.
    """

    now: datetime
    scope: Scope
    traffic: Traffic
    latency: Mapping[int, Sketch]
    samples: Mapping[int, Mapping[str, QueueMinute]]
    workers: list[tuple[Worker, WorkerState]]
    capacity: WorkerSample | None
    day_is_whole: bool = True
    minutes_kept: bool = True
    span: PastSpan | None = None
    happened: Happened | None = None

    @property
    def at(self) -> float:
        """Seconds since the epoch."""
        return self.now.timestamp()

    @property
    def latest(self) -> dict[str, QueueMinute]:
        """The sample of each queue at the end of that minute; a queue that nobody looked at is left out."""
        running = self.samples.get(int(self.at // MINUTE), {})
        return {
            name: one
            for name, one in running.items()
            if seconds_since(one.at, self.now) <= SAMPLE_STALE_AFTER
        }


def look_back(
    cluster_id: int,
    at: datetime,
    scope: Scope,
    kept_since: datetime | None = None,
    span: PastSpan | None = None,
    *,
    counted: bool = True,
) -> Then:
    """How things stood at the end of the minute `at`. Eight statements at most, none of which looks at jobs.

    `kept_since`: buckets of earlier minutes are forgotten. `counted`: the hour's latency is read as well, or
    of a span that ends with that minute what was counted in it.
    """
    now = at.replace(second=0, microsecond=0) + timedelta(seconds=MINUTE) - ALMOST
    first_hour = span.began // HOUR if span else history.read_first_hour(cluster_id)
    traffic = _read_traffic(cluster_id, now.timestamp(), scope, first_hour)
    capacity, each = _read_capacity(cluster_id, now)
    return Then(
        now=now,
        scope=scope,
        traffic=traffic,
        latency=_read_latency(cluster_id, traffic, scope) if counted and not span else {},
        samples=_read_samples(cluster_id, now, scope),
        workers=_read_workers(cluster_id, now, fleet.read(each)),
        capacity=capacity,
        day_is_whole=kept_since is None or now - DAY_IN_FULL >= kept_since,
        minutes_kept=kept_since is None or now >= kept_since,
        span=span,
        happened=past_span.read(cluster_id, span, scope) if span and counted else None,
    )


def _read_traffic(cluster_id: int, now: float, scope: Scope, first_hour: int | None) -> Traffic:
    """The whole hours before the one of then come from buckets of hours, all else from those of minutes."""
    hour, minutes = int(now // HOUR), history.window(now)
    day_ago = int((now - TREND_HOURS * HOUR) // MINUTE)
    before = range(day_ago * MINUTE // HOUR * HOUR // MINUTE, day_ago)
    rows = Bucket.objects.within(scope).filter(
        Q(tier=Bucket.HOUR, start__gte=hour - TREND_HOURS, start__lt=hour)
        | Q(tier=Bucket.MINUTE, start__gte=minutes.start, start__lt=minutes.stop)
        | Q(tier=Bucket.MINUTE, start__gte=before.start, start__lt=before.stop),
        cluster=cluster_id,
    )
    named = rows.order_by().values_list("tier", "start", "queue").annotate(**history.FLOW_SUMS)
    return _traffic(
        [(tier, start, queue, Flow(*counts)) for tier, start, queue, *counts in named], now, first_hour
    )


def _traffic(rows: Iterable[tuple[int, int, str, Flow]], now: float, first_hour: int | None) -> Traffic:
    hours: dict[int, Flow] = defaultdict(Flow)
    minutes: dict[int, Flow] = defaultdict(Flow)
    queues: dict[str, dict[int, Flow]] = defaultdict(dict)
    before = NOTHING
    for tier, start, queue, flow in rows:
        if tier == Bucket.HOUR:
            hours[start] += flow
        elif start in history.window(now):
            queues[queue][start] = flow
            minutes[start] += flow
        else:
            before += flow
    hour = int(now // HOUR)
    hours[hour] = sum((flow for at, flow in minutes.items() if at * MINUTE // HOUR == hour), NOTHING)
    return Traffic(dict(hours), before, dict(minutes), dict(queues), first_hour)


def _read_latency(cluster_id: int, traffic: Traffic, scope: Scope) -> Mapping[int, Sketch]:
    return history.read_latency(cluster_id, traffic.minutes, Memory(), scope)


def _read_samples(cluster_id: int, now: datetime, scope: Scope) -> dict[int, dict[str, QueueMinute]]:
    rows = QueueSample.objects.within(scope).filter(
        cluster=cluster_id, at__gt=now - timedelta(seconds=history.WINDOW_MINUTES * MINUTE), at__lte=now
    )
    minutes: dict[int, dict[str, QueueMinute]] = defaultdict(dict)
    for queue, at, *told in rows.order_by("at").values_list("queue", "at", "depth", "oldest_at"):
        of_minute = minutes[int(at.timestamp() // MINUTE)]
        of_minute[queue] = _folded(of_minute.get(queue), at, *told)
    return dict(minutes)


def _folded(
    before: QueueMinute | None, at: datetime, depth: int | None, oldest_at: datetime | None
) -> QueueMinute:
    """The later sample, with the longest wait of the minute."""
    age = 0.0 if depth == 0 else None if oldest_at is None else seconds_since(oldest_at, at)
    ages = [known for known in (age, before.oldest if before else None) if known is not None]
    return QueueMinute(at, depth, oldest_at, max(ages, default=None))


def _read_capacity(cluster_id: int, now: datetime) -> tuple[WorkerSample | None, str | None]:
    """The sample of then, None if nobody looked; and how each worker stood, None where that wasn't kept."""
    lately = WorkerSample.objects.filter(cluster=cluster_id, at__gt=now - EACH_KEPT_EVERY, at__lte=now)
    found = list(lately.order_by("-at"))
    fresh = found[0] if found and seconds_since(found[0].at, now) <= SAMPLE_STALE_AFTER else None
    return fresh, next((sample.each for sample in found if sample.each is not None), None)


def _read_workers(
    cluster_id: int, now: datetime, kept: Mapping[int, Mapping[str, object]]
) -> list[tuple[Worker, WorkerState]]:
    """The incarnations that should have been there then, worst first."""
    there = Worker.objects.filter(
        Q(offline_at=None) | Q(offline_at__gt=now),
        cluster=cluster_id,
        online_at__lte=now,
        seen_at__gte=now - DEAD_SHOWN_FOR,
    )
    then = [fleet.as_it_was(worker, now, kept) for worker in there.order_by("-seen_at")[:MOST_WORKERS]]
    return worker_states(then, now)
