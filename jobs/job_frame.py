"""The frame of one job: all that its page shows."""

from __future__ import annotations

import math
from datetime import datetime
from typing import Any

import orjson

from jobs import scopes
from jobs.log_lines import written
from jobs.models import ENDED, Attempt, Job, LogPart, Payload, Revocation
from jobs.scopes import Scope

# Pairs of keys in a progress report that tell how much is done.
PARTS_OF_WHOLE = (("current", "total"), ("done", "total"))
# So many of the jobs that a job was retried as are told, the newest.
MOST_RETRIES = 20
CANCEL_PENDING = "cancel pending"
# So much of a job's log is told, the newest.
MOST_PARTS, MOST_LINES = 40, 200


def job(job: Job, scope: str, now: datetime) -> dict[str, Any]:
    """The `job` dict of docs/frames.md. At most five statements."""
    allowed = scopes.named(scope)
    payload = carried(job, allowed)
    return {
        "topic": f"job-{job.pk}.{scope}",
        "at": now.timestamp(),
        "hidden": not allowed.payload,
        **_facts(job, allowed),
        **_origin(job),
        "progress": progress(payload.progress),
        "args": payload.args,
        "kwargs": payload.kwargs,
        "result": payload.result,
        "withheld": payload.withheld,
        "attempts": [_attempt(attempt, allowed) for attempt in job.timeline.all()],
        **_wished(job),
        "retried_as": _retried_as(job, allowed),
        "log": _log(job) if allowed.payload else None,
    }


def _log(job: Job) -> dict[str, Any]:
    """The newest lines; `seq` grows with each part, `left_out` counts what is not told."""
    parts: list[LogPart] = list(job.log.order_by("-retries", "-delivery", "-first")[:MOST_PARTS])
    lines = written(part.lines for part in reversed(parts))
    return {
        "seq": max((part.pk for part in parts), default=0),
        "lines": [line._asdict() for line in lines[-MOST_LINES:]],
        "left_out": sum(part.left_out for part in parts) + max(0, len(lines) - MOST_LINES),
    }


def _wished(job: Job) -> dict[str, Any]:
    """That somebody has revoked it, while it is not confirmed; `told`: since when workers know."""
    wish = Revocation.objects.filter(cluster=job.cluster_id, task_id=job.task_id).first()
    if wish is None or job.state in ENDED:
        return {"revoking": None}
    revoking = {"terminate": wish.terminate, "signal": wish.signal, "asked": epoch(wish.asked_at)}
    verdict = job.verdict or CANCEL_PENDING
    return {"verdict": verdict, "revoking": {**revoking, "told": epoch(wish.told_at)}}


def _retried_as(job: Job, allowed: Scope) -> list[dict[str, Any]]:
    """The jobs that are its second life, as far as they may be seen, the newest first."""
    lives = Job.objects.within(allowed).filter(cluster=job.cluster_id, retry_of=job.task_id)
    newest = lives.order_by("-pk").values_list("pk", "task_id")[:MOST_RETRIES]
    return [{"id": pk, "task_id": task_id} for pk, task_id in newest]


def carried(job: Job, allowed: Scope) -> Payload:
    """What the job carries; to who may not see it, only how far it says it is."""
    payload: Payload | None = getattr(job, "payload", None)
    if payload is None:
        return Payload(job=job, withheld="not captured")
    if allowed.payload:
        return payload
    return Payload(job=job, progress=_bare(payload.progress), withheld=payload.withheld)


def _bare(report: str | None) -> str | None:
    """A progress report without what the job has put into it, but for the share that is done."""
    known = progress(report)
    if known is None:
        return None
    share = known["share"]
    meta = None if share is None else {"percent": 100 * share}
    return orjson.dumps({"state": known["state"], "meta": meta, "at": known["at"]}).decode()


def _facts(job: Job, allowed: Scope) -> dict[str, Any]:
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
        "exception": allowed.words_of(job.exception),
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


def _attempt(attempt: Attempt, allowed: Scope) -> dict[str, Any]:
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
        "exception": allowed.words_of(attempt.exception),
        "traceback": attempt.traceback if allowed.payload else None,
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
