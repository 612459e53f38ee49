"""The frame of the overview: what was seen, laid out by pure functions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from jobs import attending, headlines, history, scopes, side
from jobs.attention import Attention
from jobs.history import Memory, QueueMinute
from jobs.job_frame import epoch
from jobs.models import Job
from jobs.queue_rows import age, by_two_minutes, depths, last_known, queue_rows
from jobs.rollups import Sketch
from jobs.scopes import Scope
from jobs.seen import Seen, look
from jobs.trust import read_record

T = TypeVar("T")

# The worst ones; all of them have a page, and the API.
MOST_QUEUES = 30


def overview(
    cluster_id: int,
    scope: str,
    now: datetime,
    memory: Memory | None = None,
    most_queues: int | None = MOST_QUEUES,
) -> dict[str, Any]:
    """The `overview` dict of docs/frames.md. At most 12 statements, whatever the number of rows."""
    seen = look(cluster_id, now, memory if memory is not None else Memory(), scopes.named(scope))
    queues, alerts = queue_rows(seen), attending.read_alerts(cluster_id, seen.scope, now)
    found = attending.attention_of(seen, queues, alerts)
    word, changes = _word(seen, found), attending.changes_of(seen, alerts)
    return {
        "topic": f"overview.{scope}",
        "at": seen.at,
        "seq": int(seen.at * 1000),
        "start": history.window(seen.at).start * headlines.MINUTE,
        "word": word.word,
        "since": word.since,
        "reason": word.reason,
        "began": seen.traffic.began,
        "needs": attending.needs_row(found, seen),
        "alerts": attending.alert_counts(alerts, cluster_id, seen.scope, now),
        "figures": {
            "rate": _rate(seen, sighted=word.word != "blind"),
            "success": _success(seen, sighted=word.word != "blind"),
            "latency": _latency(seen),
            "workers": _capacity(seen),
        },
        "chart": _chart(seen),
        "changes": [attending.change_row(change) for change in changes],
        "told": attending.told_key(changes, seen.trust.acted),
        "queues": [{**queue, "trend": depths(seen, queue["name"])} for queue in queues[:most_queues]],
        "more_queues": len(queues[most_queues:]) if most_queues is not None else 0,
        "failures": [_failure(job, seen.scope) for job in seen.failures],
        **side.counts(seen.scope, now, cluster_id),
        "schedules": seen.trust.schedules(),
        "record": seen.trust.record(),
    }


def record(cluster_id: int, now: datetime) -> dict[str, Any]:
    """The `record` of a frame, for pages that show no overview. One statement."""
    return read_record(cluster_id, now)


@dataclass(frozen=True)
class Standing:
    """The word of the system, since when (seconds since the epoch), and why."""

    word: str
    since: float | None
    reason: str | None


def _word(seen: Seen, found: Attention) -> Standing:
    """Whether it can be seen at all, and if so, whether something needs somebody."""
    trusted = seen.trust.verdict(anything_seen=seen.anything)
    if trusted.word == "quiet" and found.word != "quiet":
        return Standing(found.word, found.since, None)
    return Standing(trusted.word, epoch(trusted.since), trusted.reason)


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
        "trend": by_two_minutes(seen, lambda pair: _p95(seen.latency, pair)),
    }


def _p95(latency: Mapping[int, Sketch], minutes: Iterable[int]) -> float | None:
    return history.merged(latency[minute] for minute in minutes if minute in latency).quantile(0.95)


def _oldest_waiting(seen: Seen) -> float | None:
    """The age of the oldest job that waits, in seconds: 0 if none does, None if it can't be known."""
    samples = seen.latest
    ages = [age(sample) for sample in samples.values()]
    known = [age for age in ages if age is not None]
    nothing_waits = bool(samples) and all(sample.depth == 0 for sample in samples.values())
    return max(known, default=0.0 if nothing_waits else None)


def _capacity(seen: Seen) -> dict[str, Any]:
    online = seen.online
    return {
        "online": len(online),
        "known": len(seen.workers),
        "busy": _sum_known(worker.busy for worker in online),
        "slots": _sum_known(worker.slots for worker in online),
        "trend": by_two_minutes(seen, lambda pair: last_known(seen.busy.get(minute) for minute in pair)),
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


def _failure(job: Job, scope: Scope) -> dict[str, Any]:
    return {
        "id": job.pk,
        "task_id": job.task_id,
        "task": job.task,
        "queue": job.queue,
        "exception": scope.words_of(job.exception),
        "ended": epoch(job.ended_at),
        "worker": job.worker,
        "attempts": job.attempts,
    }
