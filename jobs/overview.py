"""The frame of the overview: what was seen, laid out by pure functions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

from django.conf import settings

from jobs import headlines, history
from jobs.history import Memory, QueueMinute
from jobs.job_frame import epoch
from jobs.liveness import QUEUE_STATES, WorkerState, queue_state, queues_of, seconds_since, slots_by_queue
from jobs.models import Job, Worker
from jobs.rollups import UNKNOWN, Sketch
from jobs.seen import Seen, look
from jobs.trust import read_trust

T = TypeVar("T")

LONGEST_LIST = 100


def overview(cluster_id: int, scope: str, now: datetime, memory: Memory | None = None) -> dict[str, Any]:
    """The `overview` dict of docs/frames.md. At most 15 statements, whatever the number of rows."""
    seen = look(cluster_id, now, memory if memory is not None else Memory())
    word = seen.trust.verdict(anything_seen=seen.anything)
    queues = _queues(seen)
    return {
        "topic": f"overview.{scope}",
        "at": seen.at,
        "seq": int(seen.at * 1000),
        "start": history.window(seen.at).start * headlines.MINUTE,
        "word": word.word,
        "since": epoch(word.since),
        "reason": word.reason,
        "began": seen.traffic.began,
        "trouble": _trouble(seen, queues),
        "figures": {
            "rate": _rate(seen, sighted=word.word != "blind"),
            "success": _success(seen, sighted=word.word != "blind"),
            "latency": _latency(seen),
            "workers": _capacity(seen),
        },
        "chart": _chart(seen),
        "queues": [{**queue, "trend": _trend(seen, queue["name"])} for queue in queues[:LONGEST_LIST]],
        "workers": [_worker(worker, state) for worker, state in seen.workers[:LONGEST_LIST]],
        "failures": [_failure(job) for job in seen.failures],
        "schedules": seen.trust.schedules(),
        "record": seen.trust.record(),
    }


def record(cluster_id: int, now: datetime) -> dict[str, Any]:
    """The `record` of a frame, for pages that show no overview. Four statements."""
    return read_trust(cluster_id, now).record()


def _trouble(seen: Seen, queues: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """How much of the page is red or amber, the rows that lists leave out included."""
    workers = Counter(state for _, state in seen.workers)
    states = Counter(queue["state"] for queue in queues)
    return {"dead": workers["dead"], "unserved": states["none"], "late": states["late"]}


def _rate(seen: Seen, *, sighted: bool) -> dict[str, Any]:
    """What happens now is not known while we are blind; what happened before is."""
    traffic = seen.traffic
    best = headlines.peak(traffic.hours, seen.at, traffic.first_hour)
    return {
        "now": headlines.rate_now(traffic.minutes, seen.at, traffic.first_minute(seen.at))
        if sighted
        else None,
        "peak": best[0] if best else None,
        "peak_at": best[1] if best else None,
        "trend": headlines.hourly_ends(traffic.hours, seen.at, traffic.first_hour),
    }


def _success(seen: Seen, *, sighted: bool) -> dict[str, Any]:
    day = headlines.last_day(seen.traffic.hours, seen.traffic.before_day, seen.at)
    return {
        "share": headlines.share(day),
        "recent": headlines.share(headlines.recent(seen.traffic.minutes, seen.at)) if sighted else None,
        "succeeded": day.succeeded,
        "failed": day.failed,
        "trend": headlines.hourly_shares(seen.traffic.hours, seen.at),
    }


def _latency(seen: Seen) -> dict[str, Any]:
    whole = history.merged(seen.latency.values())
    return {
        "avg": whole.mean,
        "p50": whole.quantile(0.5),
        "p95": whole.quantile(0.95),
        "count": whole.count,
        "oldest": _oldest_waiting(seen),
        "trend": _by_two_minutes(seen, lambda pair: _p95(seen.latency, pair)),
    }


def _p95(latency: Mapping[int, Sketch], minutes: Iterable[int]) -> float | None:
    return history.merged(latency[minute] for minute in minutes if minute in latency).quantile(0.95)


def _oldest_waiting(seen: Seen) -> float | None:
    """The age of the oldest job that waits, in seconds: 0 if none does, None if it can't be known."""
    samples = seen.latest
    ages = [_age(sample) for sample in samples.values()]
    known = [age for age in ages if age is not None]
    nothing_waits = bool(samples) and all(sample.depth == 0 for sample in samples.values())
    return max(known, default=0.0 if nothing_waits else None)


def _age(sample: QueueMinute | None) -> float | None:
    """As it was when sampled: what waited then may have started since."""
    if sample is None or not sample.depth or sample.oldest_at is None:
        return None
    return seconds_since(sample.oldest_at, sample.at)


def _by_two_minutes(seen: Seen, of: Callable[[Sequence[int]], T]) -> list[T]:
    minutes = history.window(seen.at)
    return [of(minutes[i : i + 2]) for i in range(0, len(minutes), 2)]


def _last_known(values: Iterable[T | None]) -> T | None:
    return next((value for value in reversed(list(values)) if value is not None), None)


def _capacity(seen: Seen) -> dict[str, Any]:
    online = seen.online
    return {
        "online": len(online),
        "known": len(seen.workers),
        "busy": _sum_known(worker.busy for worker in online),
        "slots": _sum_known(worker.slots for worker in online),
        "trend": _by_two_minutes(seen, lambda pair: _last_known(seen.busy.get(minute) for minute in pair)),
    }


def _sum_known(numbers: Iterable[int | None]) -> int | None:
    """Their sum; None if one of them is not known."""
    whole = 0
    for number in numbers:
        if number is None:
            return None
        whole += number
    return whole


def _chart(seen: Seen) -> dict[str, Any]:
    minutes = history.window(seen.at)
    flows = [_flow(seen, minute) for minute in minutes]
    return {
        "step": headlines.MINUTE,
        "start": minutes.start * headlines.MINUTE,
        "finished": [flow and flow.ended for flow in flows],
        "failed": [flow and flow.failed for flow in flows],
        "oldest": [_oldest_in(seen.samples.get(minute, {})) for minute in minutes],
    }


def _flow(seen: Seen, minute: int) -> headlines.Flow | None:
    """What ended in a minute; None before the record began."""
    began = seen.traffic.first_minute(seen.at)
    return (
        seen.traffic.minutes.get(minute, headlines.NOTHING) if began is not None and minute >= began else None
    )


def _oldest_in(queues: Mapping[str, QueueMinute]) -> float | None:
    return max((queue.oldest for queue in queues.values() if queue.oldest is not None), default=None)


def _queues(seen: Seen) -> list[dict[str, Any]]:
    samples = seen.latest
    slots = slots_by_queue(seen.online)
    names = {*settings.QUEUES, *samples, *seen.traffic.queues, *slots} - {UNKNOWN}
    anywhere = any(worker.queues is None for worker in seen.online)
    queues = [
        _queue(name, seen, samples.get(name), slots.get(name, 0), served=name in slots or anywhere)
        for name in names
    ]
    return sorted(
        queues, key=lambda queue: (QUEUE_STATES.index(queue["state"]), -(queue["oldest"] or 0), queue["name"])
    )


def _queue(
    name: str, seen: Seen, sample: QueueMinute | None, slots: int | None, *, served: bool
) -> dict[str, Any]:
    policy = settings.QUEUES.get(name)
    target = policy.target if policy else None
    flow = history.flow_of_last(seen.traffic.queues.get(name, {}), seen.at, headlines.RATE_MINUTES)
    covered = max(1.0, headlines.covered_seconds(seen.at, seen.traffic.first_minute(seen.at)))
    depth, oldest = sample.depth if sample else None, _age(sample)
    moving = bool(flow.published or flow.started or flow.ended)
    return {
        "name": name,
        "state": queue_state(depth=depth, oldest=oldest, target=target, served=served, moving=moving),
        "depth": depth,
        "oldest": oldest,
        "target": target,
        "in": (flow.published + flow.retried) / covered,
        "out": flow.started / covered,
        "slots": slots,
    }


def _trend(seen: Seen, queue: str) -> list[int | None]:
    return _by_two_minutes(seen, lambda pair: _last_known(_depth(seen, minute, queue) for minute in pair))


def _depth(seen: Seen, minute: int, queue: str) -> int | None:
    sample = seen.samples.get(minute, {}).get(queue)
    return sample.depth if sample else None


def _worker(worker: Worker, state: WorkerState) -> dict[str, Any]:
    return {
        "id": worker.pk,
        "name": worker.name,
        "pid": worker.pid,
        "state": state,
        "busy": worker.busy,
        "slots": worker.slots,
        "queues": queues_of(worker) if worker.queues is not None else None,
        "processed": worker.processed,
        "version": worker.version,
        "release": worker.release,
        "seen": worker.seen_at.timestamp(),
        "since": epoch(worker.online_at if state == "online" else worker.seen_at),
    }


def _failure(job: Job) -> dict[str, Any]:
    return {
        "id": job.pk,
        "task_id": job.task_id,
        "task": job.task,
        "queue": job.queue,
        "exception": job.exception,
        "ended": epoch(job.ended_at),
        "worker": job.worker,
        "attempts": job.attempts,
    }
