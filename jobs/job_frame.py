"""The frame of one job: all that its page shows."""

from __future__ import annotations

import math
from datetime import datetime
from typing import Any

import orjson

from jobs.models import Attempt, Job, Payload

# Pairs of keys in a progress report that tell how much is done.
PARTS_OF_WHOLE = (("current", "total"), ("done", "total"))


def job(job: Job, scope: str, now: datetime) -> dict[str, Any]:
    """The `job` dict of docs/frames.md. At most two statements: payload and attempts."""
    payload = getattr(job, "payload", None) or Payload(job=job, withheld="not captured")
    return {
        "topic": f"job-{job.pk}.{scope}",
        "at": now.timestamp(),
        **_facts(job),
        **_origin(job),
        "progress": progress(payload.progress),
        "args": payload.args,
        "kwargs": payload.kwargs,
        "result": payload.result,
        "withheld": payload.withheld,
        "attempts": [_attempt(attempt) for attempt in job.timeline.all()],
    }


def _facts(job: Job) -> dict[str, Any]:
    return {
        "id": job.pk,
        "task_id": job.task_id,
        "task": job.task,
        "queue": job.queue,
        "state": job.state,
        "verdict": job.verdict,
        "retries": job.retries,
        "attempts_count": job.attempts,
        "priority": job.priority,
        "published": epoch(job.published_at),
        "eta": epoch(job.eta),
        "expires": epoch(job.expires_at),
        "received": epoch(job.received_at),
        "started": epoch(job.started_at),
        "ended": epoch(job.ended_at),
        "wait": job.wait,
        "run": job.run,
        "total": job.total,
        "worker": job.worker,
        "exception": job.exception,
    }


def _origin(job: Job) -> dict[str, Any]:
    return {
        "root_id": job.root_id,
        "parent_id": job.parent_id,
        "group_id": job.group_id,
        "retry_of": job.retry_of,
        "schedule": job.schedule,
        "origin": job.origin,
        "release": job.release,
    }


def _attempt(attempt: Attempt) -> dict[str, Any]:
    return {
        "retries": attempt.retries,
        "delivery": attempt.delivery,
        "state": attempt.state,
        "worker": attempt.worker,
        "received": epoch(attempt.received_at),
        "started": epoch(attempt.started_at),
        "ended": epoch(attempt.ended_at),
        "wait": attempt.wait,
        "run": attempt.ran,
        "exception": attempt.exception,
        "traceback": attempt.traceback,
    }


def epoch(moment: datetime | None) -> float | None:
    """Seconds since the epoch."""
    return None if moment is None else moment.timestamp()


def progress(text: str | None) -> dict[str, Any] | None:
    """The last progress report with the share it tells; None if there is none that can be read."""
    if text is None:
        return None
    try:
        report = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(report, dict):
        return None
    meta = report.get("meta")
    return {"state": report.get("state"), "meta": meta, "share": share_done(meta), "at": report.get("at")}


def share_done(meta: object) -> float | None:
    """How much of the work a report's `meta` tells to be done, 0 to 1."""
    if not isinstance(meta, dict):
        return None
    for part, whole in PARTS_OF_WHOLE:
        if _number(meta.get(part)) and _number(meta.get(whole)) and meta[whole] > 0:
            return _within(meta[part] / meta[whole])
    return _within(meta["percent"] / 100) if _number(meta.get("percent")) else None


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _within(share: float) -> float:
    return min(1.0, max(0.0, share))
