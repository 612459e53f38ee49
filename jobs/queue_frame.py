"""What the pages of queues show: all of them, worst first, and one with its last hour.

As with every frame, the cost does not grow with the number of jobs.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import orjson

from jobs import headlines, scopes
from jobs.headlines import HOUR, NOTHING, Flow
from jobs.history import Memory
from jobs.job_frame import epoch
from jobs.liveness import queues_of
from jobs.models import Bucket
from jobs.piles import Pile
from jobs.queue_now import (
    Past,
    by_priority,
    open_jobs,
    read_past,
    wait_trend,
)
from jobs.queue_rows import by_two_minutes, depths, last_known, queue_rows
from jobs.rollups import Sketch
from jobs.seen import Seen, look
from jobs.worker_frame import worker_row

Frame = dict[str, Any]
MOST_TASKS = 20


def queues(cluster_id: int, scope: str, now: datetime, memory: Memory | None = None) -> Frame:
    """All queues that the scope shows, worst first."""
    seen = look(cluster_id, now, memory if memory is not None else Memory(), scopes.named(scope))
    waits = _waits(cluster_id, seen)
    readers = _readers(seen)
    rows = [
        {
            **row,
            "trend": depths(seen, row["name"]),
            "wait": waits[row["name"]].quantile(0.95) if row["name"] in waits else None,
            "failing": headlines.failing(_of_the_hour(seen, row["name"])),
            "workers": readers[row["name"]],
        }
        for row in queue_rows(seen)
    ]
    return {
        "at": seen.at,
        "blind": _blind(seen),
        "record": seen.trust.record(),
        "queues": rows,
        "states": dict(Counter(row["state"] for row in rows)),
    }


def queue(
    name: str, cluster_id: int, scope: str, now: datetime, memory: Memory | None = None
) -> Frame | None:
    """One queue; None if the scope shows nothing of it, or nobody has heard of it."""
    memory = memory if memory is not None else Memory()
    seen = look(cluster_id, now, memory, scopes.named(scope))
    row = next((row for row in queue_rows(seen) if row["name"] == name), None)
    if row is None:
        return None
    past = read_past(cluster_id, name, seen, memory)
    sampled = seen.latest.get(name)
    held = orjson.loads(seen.pauses[name].held) if name in seen.pauses else {}
    return {
        **row,
        "at": seen.at,
        "blind": _blind(seen),
        "record": seen.trust.record(),
        "priorities": by_priority(sampled.priorities) if sampled else None,
        "open": open_jobs(cluster_id, name, seen.scope),
        "sampled": epoch(sampled.at) if sampled else None,
        "unacked": sampled.unacked if sampled else None,
        "wait": past.wait.quantile(0.95) if past.wait else None,
        "failing": headlines.failing(_of_the_hour(seen, name)),
        "trends": {
            "depth": depths(seen, name),
            "oldest": by_two_minutes(seen, lambda pair: last_known(_oldest(seen, at, name) for at in pair)),
            "wait": wait_trend(past, seen),
            "in": _moved(seen, name, lambda flow: flow.published + flow.retried),
            "out": _moved(seen, name, lambda flow: flow.started),
        },
        "readers": [
            worker_row(worker, state, seen.scope)
            for worker, state in seen.workers
            if name in [*queues_of(worker), *held_queues(worker)] or worker.name in held
        ],
        "tasks": _tasks(past),
    }


def held_queues(worker: Any) -> list[str]:
    """The queues that a worker found paused."""
    return [name for name in (worker.held or "").split(",") if name]


def _blind(seen: Seen) -> str | None:
    """Why what is shown is not how things are now; None if it is."""
    word = seen.trust.verdict(anything_seen=seen.anything)
    return word.reason if word.word == "blind" else None


def _readers(seen: Seen) -> Counter[str]:
    """How many online workers read each queue."""
    return Counter(queue for worker in seen.online for queue in queues_of(worker))


def _of_the_hour(seen: Seen, name: str) -> Flow:
    return headlines.total(seen.traffic.queues.get(name, {}).values())


def _oldest(seen: Seen, minute: int, name: str) -> float | None:
    sample = seen.samples.get(minute, {}).get(name)
    return sample.oldest if sample else None


def _moved(seen: Seen, name: str, of: Callable[[Flow], int]) -> list[int | None]:
    """A count of each two minutes; None before the record began."""
    flows, began = seen.traffic.queues.get(name, {}), seen.traffic.first_minute(seen.at)
    return by_two_minutes(
        seen,
        lambda pair: (
            None
            if began is None or pair[-1] < began
            else sum(of(flows.get(minute, NOTHING)) for minute in pair)
        ),
    )


def _waits(cluster_id: int, seen: Seen) -> Mapping[str, Sketch]:
    """How long jobs waited that ended in this clock hour and the last, by queue."""
    rows = Bucket.objects.within(seen.scope).filter(
        cluster=cluster_id, tier=Bucket.HOUR, start__gte=int(seen.at // HOUR) - 1
    )
    found: dict[str, Pile] = defaultdict(lambda: Pile("wait"))
    for name, sketches in rows.values_list("queue", "sketches"):
        found[name].add(sketches)
    return {name: pile.sketch("wait") for name, pile in found.items()}


def _tasks(past: Past) -> list[dict[str, Any]]:
    """Which tasks went through in this clock hour and the last, most first."""
    busiest = sorted(past.tasks.items(), key=lambda item: (-item[1].started, item[0]))[:MOST_TASKS]
    return [_task(task, flow) for task, flow in busiest]


def _task(task: str, flow: Flow) -> dict[str, Any]:
    return {
        "task": task,
        "published": flow.published,
        "started": flow.started,
        "failed": flow.failed,
        "failing": headlines.failing(flow),
    }
