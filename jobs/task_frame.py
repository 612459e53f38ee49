"""What the pages of tasks show: all of them, worst first, and one."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from jobs import headlines, history
from jobs.headlines import HOUR, Flow
from jobs.job_frame import epoch
from jobs.liveness import WorkerState, queues_of
from jobs.models import Bucket, Job, State, Worker
from jobs.rollups import UNKNOWN, Sketch
from jobs.scopes import Scope
from jobs.search import Candidates, Query
from jobs.task_figures import (
    MOST_BUCKETS,
    MOST_TASKS,
    Bars,
    OfQueue,
    Part,
    Whole,
    badness,
    read_bars,
    read_first_days,
    read_parts,
    read_queues,
    read_tasks,
    within_budget,
    worst_first,
)
from jobs.task_windows import WINDOWS, Span

Frame = dict[str, Any]
SHOWN = 50
# Days looked back for the first time that a task was heard of: of many, and of one.
DAYS_OF_MANY, DAYS_OF_ONE = 30, 365
LATEST_FAILURES = 10
# Jobs that are looked at for who ran them, and under which release.
NEWEST = 1_000
MEDIAN, HIGH = 0.5, 0.95


def tasks(
    cluster_id: int,
    scope: Scope,
    now: datetime,
    window: str,
    searched: str,
    workers: Iterable[tuple[Worker, WorkerState]],
    page: int = 1,
) -> Frame:
    """All tasks that the scope shows, worst first, `page` of them. Five statements."""
    at = now.timestamp()
    span = Span.of(WINDOWS[window], at)
    found = read_tasks(cluster_id, scope, span, searched)
    ranked = worst_first(found[:MOST_TASKS])
    shown = ranked[(page - 1) * SHOWN : page * SHOWN]
    whole = within_budget(shown)
    first = read_first_days(cluster_id, scope, [told.task for told in shown], at, DAYS_OF_MANY)
    began = history.read_first_hour(cluster_id)
    read = read_parts(cluster_id, scope, whole, span.of_all()), read_bars(cluster_id, scope, whole, span)
    parts = _Parts(*read, span, began, _readers(workers))
    covered = _covered(span, at, began)
    return {
        "at": at,
        "window": window,
        "since": span.begin,
        "tasks": [
            {**_row(told, covered), **parts.of(told),
             "first": _first(first.get(told.task), at, DAYS_OF_MANY)}
            for told in shown
        ],
        "page": page,
        "before": (page - 1) * SHOWN,
        "further": len(ranked) > page * SHOWN,
        "known": len(ranked),
        "more": len(found) > MOST_TASKS,
        "failing": sum(told.counts.failed > 0 for told in ranked),
        "figured": len(whole),
        "ever": began is not None,
    }  # fmt: skip


def _covered(span: Span, at: float, began: int | None) -> float:
    """Seconds of the window in which there was a record."""
    return max(1.0, at - max(span.begin, (began or 0) * HOUR))


def _row(told: Whole, covered: float) -> Frame:
    return {
        "task": told.task,
        "known": told.task != UNKNOWN,
        **_counted(told.counts, covered),
    }


def _counted(counts: Flow, covered: float) -> Frame:
    return {
        **asdict(counts),
        "ended": counts.ended,
        "failing": headlines.failing(counts),
        "per_hour": counts.ended * HOUR / covered,
    }


@dataclass(frozen=True)
class _Parts:
    """What was read of the buckets of the tasks that are shown."""

    parts: Mapping[str, Part]
    bars: Mapping[str, Bars]
    span: Span
    began: int | None
    readers: Mapping[str, set[str]]

    def of(self, told: Whole) -> Frame:
        """Unknown where there were too many of them."""
        part, span = self.parts.get(told.task), self.span
        if part is None:
            unknown = ("trend", "queues", "workers", "failed_at")
            return {**dict.fromkeys(unknown), "wait": _NO_TIMES, "run": _NO_TIMES}
        queues = sorted(queue for queue, of_queue in part.queues.items() if of_queue.counted > 0)
        bars = self.bars.get(told.task, {})
        return {
            "trend": trend(bars, span.bars, span.bar, self.began),
            "queues": queues,
            "workers": len({name for queue in queues for name in self.readers.get(queue, ())}),
            "failed_at": _last_failed(bars, span),
            **_durations(part),
        }


def _last_failed(bars: Bars, span: Span) -> int | None:
    """When the last bar in which something failed began, in seconds; the window begins within the first."""
    last = max((bar for bar, (_, failed) in bars.items() if failed), default=None)
    return None if last is None else max(span.begin, last * span.bar)


_NO_TIMES: Frame = {"p50": None, "p95": None, "count": None}


def _durations(part: Part) -> Frame:
    return {"wait": _times(part.durations.sketch("wait")), "run": _times(part.durations.sketch("run"))}


def _times(sketch: Sketch) -> Frame:
    return {"p50": sketch.quantile(MEDIAN), "p95": sketch.quantile(HIGH), "count": sketch.count}


def trend(steps: Bars, bars: Sequence[int], bar: int, began: int | None) -> Frame:
    """Jobs that ended and that failed in each bar, oldest first; None before the record began."""
    first = None if began is None else began * HOUR // bar
    known = [steps.get(step, [0, 0]) if first is not None and step >= first else None for step in bars]
    return {
        "start": bars[0] * bar,
        "step": bar,
        "ended": [told and told[0] for told in known],
        "failed": [told and told[1] for told in known],
    }


def _first(day: int | None, at: float, days: int) -> Frame:
    """When a task was first heard of: `at` in seconds; `earlier` where it was before what was looked at."""
    if day is None:
        return {"at": None, "earlier": False, "today": False}
    today = int(at // Bucket.DAY)
    return {"at": day * Bucket.DAY, "earlier": day <= today - days + 1, "today": day == today}


def _readers(workers: Iterable[tuple[Worker, WorkerState]]) -> Mapping[str, set[str]]:
    """The names of the online workers that read each queue."""
    readers: dict[str, set[str]] = defaultdict(set)
    for worker, state in workers:
        for queue in queues_of(worker) if state == "online" else ():
            readers[queue].add(worker.name)
    return readers


def task(
    name: str,
    cluster_id: int,
    scope: Scope,
    now: datetime,
    window: str,
    user: Any,
) -> Frame | None:
    """One task; None if nothing of it was heard of. At most ten statements.

    With `cut`, trend and durations are of the part of the buckets that a page reads.
    """
    at = now.timestamp()
    span = Span.of(WINDOWS[window], at)
    first = read_first_days(cluster_id, scope, [name], at, DAYS_OF_ONE).get(name)
    newest = _newest(name, cluster_id, user)
    if first is None and not newest:
        return None
    queues = read_queues(cluster_id, scope, name, span)
    parts = read_parts(cluster_id, scope, [name], span.of_few(), by_queue=True)
    part, began = parts.get(name, Part()), _began(cluster_id, span, first)
    covered = _covered(span, at, began)
    return {
        "task": name,
        "at": at,
        "window": window,
        "since": span.begin,
        **_counted(headlines.total(told.counts for told in queues.values()), covered),
        **_durations(part),
        "trend": trend(part.steps, span.steps, span.tier, began),
        "queues": _by_queue(queues, part, covered),
        "cut": sum(told.buckets for told in queues.values()) > MOST_BUCKETS,
        "first": _first(first, at, DAYS_OF_ONE),
        "newest": len(newest),
        "releases": _by_release(newest),
        "workers": _by_worker(newest),
        "failures": _failures(name, cluster_id, user),
    }


def _began(cluster_id: int, span: Span, first: int | None) -> int | None:
    """The hour in which the record began, or one before the window where it had begun by then."""
    if first is not None and (first + 1) * Bucket.DAY <= span.begin:
        return first * Bucket.DAY // HOUR
    return history.read_first_hour(cluster_id)


def _by_queue(queues: Mapping[str, OfQueue], part: Part, covered: float) -> list[Frame]:
    """Its queues, worst first."""
    ranked = sorted(
        queues, key=lambda queue: (-badness(queues[queue].counts), -queues[queue].counts.ended, queue)
    )
    return [
        {
            "queue": queue,
            **_counted(queues[queue].counts, covered),
            **_durations(part.queues.get(queue, Part())),
        }
        for queue in ranked
    ]


def _newest(name: str, cluster_id: int, user: Any) -> list[Frame]:
    """The newest jobs of a task, newest first; one statement, or three where no index serves the reach."""
    candidates = Candidates.of(Query(task=name, cluster_id=cluster_id), user)
    rows = candidates.rows
    if candidates.residue:
        rows = rows.filter(pk__in=candidates.window(None, NEWEST).ids)
    columns = ("pk", "release", "worker", "state", "run", "published_at", "seen_at")
    return [dict(row) for row in rows.order_by("-pk").values(*columns)[:NEWEST]]


def _by_release(jobs: Sequence[Frame]) -> list[Frame]:
    """The releases among these jobs, the newest first: how they failed, and how long they ran (seconds)."""
    grouped: dict[str, list[Frame]] = defaultdict(list)
    for job in jobs:
        if job["release"]:
            grouped[job["release"]].append(job)
    return [{"release": release, **_shares(of_it)} for release, of_it in grouped.items()]


def _shares(jobs: Sequence[Frame]) -> Frame:
    states = Counter(job["state"] for job in jobs)
    judged = states[State.SUCCEEDED] + states[State.FAILED]
    runs = sorted(job["run"] for job in jobs if job["run"] is not None)
    return {
        "jobs": len(jobs),
        "failed": states[State.FAILED],
        "failing": states[State.FAILED] / judged if judged else None,
        "p50": runs[len(runs) // 2] if runs else None,
        "p95": runs[int(0.95 * (len(runs) - 1))] if runs else None,
        "first": epoch(jobs[-1]["published_at"] or jobs[-1]["seen_at"]),
    }


def _by_worker(jobs: Sequence[Frame]) -> list[Frame]:
    """The workers that ran these jobs, the busiest first."""
    grouped: dict[str, list[Frame]] = defaultdict(list)
    for job in jobs:
        if job["worker"]:
            grouped[job["worker"]].append(job)
    ranked = sorted(grouped.items(), key=lambda item: (-len(item[1]), item[0]))
    return [{"name": name, **_shares(of_it), "last": epoch(of_it[0]["seen_at"])} for name, of_it in ranked]


def _failures(name: str, cluster_id: int, user: Any) -> list[Job]:
    """Its latest failures; one statement, or three where an index does not serve the reach of `user`."""
    candidates = Candidates.of(Query(state=State.FAILED, task=name, cluster_id=cluster_id), user)
    rows = candidates.rows
    if candidates.residue:
        rows = rows.filter(pk__in=candidates.older_than(None)[0])
    jobs = [row.job for row in rows.order_by("-pk").select_related("job")[:LATEST_FAILURES]]
    for job in jobs:
        job.exception = candidates.scope.words_of(job.exception)
    return jobs
