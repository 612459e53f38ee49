"""How what an alert is about went before and since: read from samples and buckets, never from jobs."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from django.db.models import Sum, Value

from jobs import history
from jobs.headlines import MINUTE
from jobs.history import Memory, QueueMinute
from jobs.liveness import seconds_since
from jobs.models import Alert, Bucket, Cluster, QueueSample
from jobs.models.alerts import Kind
from jobs.queue_rows import last_known
from jobs.rollups import Sketch, Sketches
from jobs.scopes import EVERYTHING, Scope

BEFORE = timedelta(hours=2)
AFTERWARDS = timedelta(minutes=10)
MOST_STEPS = 240
# What is drawn for a rule of each kind; a kind that is not here has no history of its own.
Measure = Literal["depth", "oldest", "share", "wait", "run", "total", "failed", "succeeded"]
MEASURES: dict[str, Measure] = {
    Kind.DEPTH: "depth",
    Kind.NO_CONSUMER: "depth",
    Kind.STALLED: "depth",
    Kind.OLDEST: "oldest",
    Kind.FAILURE_SHARE: "share",
    Kind.FAILURE_RISE: "share",
    Kind.SLOW: "wait",
    Kind.NEW_ERROR: "failed",
    Kind.NO_SUCCESS: "succeeded",
}
OF_SAMPLES = ("depth", "oldest")
OF_SKETCHES = ("wait", "run", "total")
HIGH = 0.95


@dataclass(frozen=True)
class Series:
    """One value for each `step` seconds from `start` (seconds since the epoch) on; None is not known."""

    measure: Measure
    start: int
    step: int
    values: Sequence[float | None]

    @property
    def end(self) -> int:
        """Where the last step ends."""
        return self.start + self.step * len(self.values)

    def at(self, place: int) -> int:
        """When a step begins."""
        return self.start + place * self.step


def measure_of(alert: Alert) -> Measure | None:
    """What is drawn for an alert; None where nothing of it is kept."""
    measure = MEASURES.get(alert.rule.kind)
    if measure == "wait":
        measure = alert.rule.params.get("measure", measure)
    subject = alert.queue if measure in OF_SAMPLES else alert.task or alert.queue
    return measure if subject else None


def series(alert: Alert, now: datetime, scope: Scope = EVERYTHING) -> Series | None:
    """From two hours before its cause to its end, in up to 240 steps; one statement.

    A step is of whole minutes; of durations of a longer time it is of whole hours, as each of their
    minutes is dear to read.
    """
    measure = measure_of(alert)
    if measure is None:
        return None
    begin = (alert.since - BEFORE).timestamp()
    end = (min(now, alert.resolved_at + AFTERWARDS) if alert.resolved_at else now).timestamp()
    by_hour = measure in OF_SKETCHES and end - begin > MOST_STEPS * MINUTE
    unit = Bucket.HOUR if by_hour else Bucket.MINUTE
    first = int(begin // unit)
    units = max(1, int(end // unit) - first + 1)
    width = math.ceil(units / MOST_STEPS)
    span = range(first, first + math.ceil(units / width) * width)
    known = _by_unit(alert, measure, unit, span, scope)
    steps = range(span.start, span.stop, width)
    values = [_of_step(known, range(step, step + width)) for step in steps]
    return Series(measure, span.start * unit, width * unit, values)


def _of_step(known: dict[int, float], units: range) -> float | None:
    """The worst that was seen in these minutes or hours."""
    return max((known[unit] for unit in units if unit in known), default=None)


def _by_unit(alert: Alert, measure: Measure, unit: int, span: range, scope: Scope) -> dict[int, float]:
    if measure in OF_SAMPLES:
        return _sampled(alert, measure, span, scope)
    buckets = _buckets(alert.cluster_id or Cluster.DEFAULT_ID, unit, span, scope)
    narrowed = buckets.filter(**{name: value for name, value in _subject(alert) if value}).order_by()
    if measure in OF_SKETCHES:
        return _high(narrowed.values_list("start", "sketches").iterator(), measure)
    rows = narrowed.values_list("start").annotate(Sum("succeeded"), Sum("failed"))
    return _folded(((start, (succeeded, failed, "")) for start, succeeded, failed in rows), measure)


def _subject(alert: Alert) -> tuple[tuple[str, str | None], ...]:
    return ("task", alert.task), ("queue", alert.queue)


def _sampled(alert: Alert, measure: Measure, span: range, scope: Scope) -> dict[int, float]:
    rows = QueueSample.objects.within(scope).filter(
        cluster=alert.cluster_id,
        queue=alert.queue,
        at__gte=_start_of(span.start),
        at__lt=_start_of(span.stop),
    )
    found: dict[int, float] = {}
    for at, depth, oldest_at in rows.values_list("at", "depth", "oldest_at"):
        value = depth if measure == "depth" else _age(at, depth, oldest_at)
        if value is not None:
            minute = int(at.timestamp() // MINUTE)
            found[minute] = max(found.get(minute, 0.0), float(value))
    return found


def _age(at: datetime, depth: int | None, oldest_at: datetime | None) -> float | None:
    if depth == 0:
        return 0.0
    return None if oldest_at is None else seconds_since(oldest_at, at)


Counts = tuple[int, int, str]


def _buckets(cluster_id: int, tier: int, span: range, scope: Scope) -> Any:
    return Bucket.objects.within(scope).filter(
        cluster=cluster_id, tier=tier, start__gte=span.start, start__lt=span.stop
    )


def _high(rows: Iterable[tuple[int, str]], measure: Measure) -> dict[int, float]:
    """What one of twenty jobs took longer than, by minute or hour; one row at a time is in memory."""
    merged: dict[int, Sketch] = defaultdict(Sketch)
    for start, text in rows:
        merged[start].merge(Sketches.loads(text).ended(measure))
    told = {start: sketch.quantile(HIGH) for start, sketch in merged.items()}
    return {start: value for start, value in told.items() if value is not None}


def _folded(rows: Iterable[tuple[int, Counts]], measure: Measure) -> dict[int, float]:
    by_minute: dict[int, list[Counts]] = defaultdict(list)
    for minute, counts in rows:
        by_minute[minute].append(counts)
    folded = {minute: _fold(counts, measure) for minute, counts in by_minute.items()}
    return {minute: value for minute, value in folded.items() if value is not None}


def _fold(rows: Sequence[Counts], measure: Measure) -> float | None:
    """One value of a minute, from what several tasks or queues had in it."""
    succeeded, failed = sum(row[0] for row in rows), sum(row[1] for row in rows)
    if measure == "share":
        return failed / (succeeded + failed) if succeeded + failed else None
    if measure in ("failed", "succeeded"):
        return float(failed if measure == "failed" else succeeded)
    return history.merged(Sketches.loads(row[2]).ended(measure) for row in rows).quantile(HIGH)


def last_hour(
    alerts: Sequence[Alert], cluster_id: int, now: datetime, memory: Memory, scope: Scope
) -> dict[int, list[float | None]]:
    """For each alert that has a history, by its number: the last hour in two-minute steps; two statements."""
    measured = [(alert, measure) for alert in alerts if (measure := measure_of(alert)) is not None]
    tasks = {alert.task for alert, measure in measured if measure not in OF_SAMPLES and alert.task}
    sketched = any(measure in OF_SKETCHES for _, measure in measured)
    of_tasks = _of_tasks(tasks, cluster_id, now, scope, sketched=sketched)
    queues = history.read_queues(cluster_id, now, memory.within(scope), scope) if measured else {}

    def value(alert: Alert, measure: Measure) -> Callable[[int], float | None]:
        if measure not in OF_SAMPLES:
            return _folded(of_tasks.get(alert.task or "", []), measure).get
        return lambda minute: _told(queues.get(minute, {}).get(alert.queue or ""), measure)

    return {alert.pk: _pairs(now, value(alert, measure)) for alert, measure in measured}


def _told(sample: QueueMinute | None, measure: Measure) -> float | None:
    if sample is None:
        return None
    return sample.depth if measure == "depth" else sample.oldest


def _of_tasks(
    tasks: set[str], cluster_id: int, now: datetime, scope: Scope, *, sketched: bool
) -> dict[str, list[tuple[int, Counts]]]:
    found: dict[str, list[tuple[int, Counts]]] = defaultdict(list)
    if not tasks:
        return found
    span = history.window(now.timestamp())
    rows = _buckets(cluster_id, Bucket.MINUTE, span, scope).filter(task__in=tasks)
    text_of = "sketches" if sketched else Value("")
    for task, minute, succeeded, failed, text in rows.values_list(
        "task", "start", "succeeded", "failed", text_of
    ):
        found[task].append((minute, (succeeded, failed, text)))
    return found


def _pairs(now: datetime, of: Callable[[int], float | None]) -> list[float | None]:
    minutes = history.window(now.timestamp())
    return [last_known(of(minute) for minute in minutes[i : i + 2]) for i in range(0, len(minutes), 2)]


def _start_of(minute: int) -> datetime:
    return datetime.fromtimestamp(minute * MINUTE, UTC)
