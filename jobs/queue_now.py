"""What the page of one queue shows beside its row: where its jobs are, who works on it, how long jobs waited.

Each read is bounded: by a limit, or by the minutes of an hour.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from django.db.models import Q

from jobs import history
from jobs.headlines import HOUR, Flow
from jobs.history import Memory
from jobs.job_frame import epoch
from jobs.models import Bucket, Standing, State
from jobs.queue_rows import by_two_minutes
from jobs.rollups import Sketch, Sketches
from jobs.scopes import Scope
from jobs.seen import Seen

COUNT_LIMIT = 10_000
NEXT_SHOWN = 20
# A narrow scope finds its own among so many of the oldest.
NEXT_LOOKED_AT = 1_000
# In the order in which they are counted: what may be many comes last.
OPEN_STATES = (State.RECEIVED, State.RUNNING, State.SCHEDULED)


def by_priority(told: str | None) -> list[dict[str, int]] | None:
    """How many waited of each priority, the most urgent first, as a sample has it; None if it doesn't."""
    if told is None:
        return None
    counts = sorted(((int(one), count) for one, count in orjson.loads(told).items()), reverse=True)
    return [{"priority": priority, "count": count} for priority, count in counts]


def open_jobs(cluster_id: int, name: str, scope: Scope) -> dict[str, dict[str, Any]]:
    """How many jobs of a queue are in each of OPEN_STATES, by the record; one statement.

    Counting stops at COUNT_LIMIT jobs: of the state where it stopped there are `more`, and of those after it
    the count is None.
    """
    rows = Standing.objects.filter(cluster=cluster_id, queue=name, state__in=OPEN_STATES)
    found = list(rows.order_by("state", "job_id").values_list("state", "task")[: COUNT_LIMIT + 1])
    last = found[-1][0] if len(found) > COUNT_LIMIT else None
    counts = Counter(state for state, task in found[:COUNT_LIMIT] if scope.covers(task, name))
    return {
        state: {"count": counts[state] if last is None or state <= last else None, "more": state == last}
        for state in OPEN_STATES
    }


def next_in_line(cluster_id: int, name: str, scope: Scope) -> list[dict[str, Any]]:
    """The oldest jobs that wait in a queue, by the record, with what they carry if the scope shows it."""
    waiting = Standing.objects.filter(cluster=cluster_id, queue=name, state=State.QUEUED).order_by("job_id")
    rows = waiting.values_list("job_id", "task")[: NEXT_SHOWN if scope.spans is None else NEXT_LOOKED_AT]
    ids = [pk for pk, task in rows if scope.covers(task, name)][:NEXT_SHOWN]
    found = Standing.objects.filter(pk__in=ids).select_related("job__payload").order_by("job_id")
    return [_waiting(row, scope) for row in found]


def _waiting(row: Standing, scope: Scope) -> dict[str, Any]:
    job = row.job
    payload = getattr(job, "payload", None) if scope.payload else None
    return {
        "id": job.pk,
        "task_id": job.task_id,
        "task": job.task,
        "priority": job.priority,
        "since": epoch(max((at for at in (job.published_at, job.eta) if at is not None), default=None)),
        "args": payload.args if payload else None,
        "kwargs": payload.kwargs if payload else None,
    }


@dataclass(frozen=True)
class Past:
    """What buckets hold of a queue: of this clock hour and the last, by task and in all; waits by minute."""

    tasks: Mapping[str, Flow]
    wait: Sketch | None
    waits: Mapping[int, Sketch]


def read_past(cluster_id: int, name: str, seen: Seen, memory: Memory) -> Past:
    """One statement; minutes are read again only where their counts have moved."""
    kept = memory.within(seen.scope).waits
    counts = _counts_of_minutes(name, seen)
    unread = [at for at, told in counts.items() if kept.get((name, at), (None,))[0] != told]
    hours, minutes = _read_buckets(cluster_id, name, seen, unread)
    for at in unread:
        kept[name, at] = (counts[at], history.merged(minutes[at]))
    return Past(
        tasks=_by_task(hours),
        wait=history.merged(sketch for _, _, sketch in hours) if hours else None,
        waits={at: kept[name, at][1] for at in counts},
    )


def _counts_of_minutes(name: str, seen: Seen) -> dict[int, tuple[int, int]]:
    """The minutes in which jobs came to a result, with how many."""
    flows = seen.traffic.queues.get(name, {})
    return {at: (flow.succeeded, flow.failed) for at, flow in flows.items() if flow.succeeded or flow.failed}


OfTask = tuple[str, Flow, Sketch]


def _read_buckets(
    cluster_id: int, name: str, seen: Seen, minutes: Sequence[int]
) -> tuple[list[OfTask], Mapping[int, list[Sketch]]]:
    """Of each task in this clock hour and the last; and the sketches of waits in these minutes."""
    lately = Q(tier=Bucket.HOUR, start__gte=int(seen.at // HOUR) - 1)
    rows = Bucket.objects.within(seen.scope).filter(
        lately | Q(tier=Bucket.MINUTE, start__in=minutes), cluster=cluster_id, queue=name
    )
    hours: list[OfTask] = []
    found: dict[int, list[Sketch]] = defaultdict(list)
    named = rows.values_list(
        "tier", "start", "task", "sketches", "published", "started", "retried", "succeeded", "failed"
    )
    for tier, start, task, sketches, *counts in named:
        waits = Sketches.loads(sketches).ended("wait")
        if tier == Bucket.HOUR:
            hours.append((task, Flow(*counts), waits))
        else:
            found[start].append(waits)
    return hours, found


def _by_task(hours: Iterable[OfTask]) -> Mapping[str, Flow]:
    counted: dict[str, Flow] = defaultdict(Flow)
    for task, flow, _ in hours:
        counted[task] += flow
    return counted


def wait_trend(past: Past, seen: Seen) -> list[float | None]:
    """The p95 wait of jobs that ended in each two minutes of the last hour; None where none did."""
    waits = past.waits
    return by_two_minutes(
        seen, lambda pair: history.merged(waits[at] for at in pair if at in waits).quantile(0.95)
    )
