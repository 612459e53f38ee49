"""From memory into rows: pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import orjson

from jobs.events import JobEvent
from jobs.lifecycle import Attempt, Job, run_of
from jobs.rollups import COUNTS, Key, Tally, minute_of
from jobs.store.tables import moment

Row = list[Any]
NO_ATTEMPT = Attempt(retries=0, delivery=0)
PAYLOAD_FIELDS = ("args", "kwargs", "body", "withheld", "result")
PROGRESS_LENGTH = 10_000


def job_row(cluster_id: int, job: Job) -> Row:
    """A row of Job, in the order of tables.JOB_KEY and store.JOB_COLUMNS."""
    attempt = job.deciding or NO_ATTEMPT
    ended_at = job.ended_at
    return [
        job.id, cluster_id, job.task_id,
        job.task, job.queue, job.state,
        attempt.retries if job.deciding else job.published_retries, attempt.delivery, attempt.rank,
        len(job.attempts), job.priority,
        moment(job.published_at), moment(job.eta), moment(job.expires_at),
        moment(attempt.received_at), moment(attempt.started_at), moment(ended_at),
        None if ended_at is None else minute_of(ended_at), moment(job.seen_at),
        attempt.wait, run_of(attempt), job.total, attempt.worker, attempt.exception,
        job.root_id, job.parent_id, job.group_id, job.retry_of, job.schedule, job.origin, job.release,
    ]  # fmt: skip


def attempt_rows(before: Job | None, after: Job) -> list[Row]:
    """Rows of the attempts that changed, in the order of tables.ATTEMPT_KEY and ATTEMPT_COLUMNS."""
    known = before.attempts if before is not None else {}
    return [
        _attempt_row(after, a, known.get(key)) for key, a in after.attempts.items() if known.get(key) != a
    ]


def _attempt_row(job: Job, attempt: Attempt, before: Attempt | None) -> Row:
    return [
        job.id, attempt.retries, attempt.delivery,
        attempt.state, attempt.rank, attempt.worker,
        moment(attempt.published_at), moment(attempt.eta), moment(attempt.received_at),
        moment(attempt.started_at), moment(attempt.ended_at),
        attempt.run, attempt.exception, _traceback(attempt, before),
    ]  # fmt: skip


def _traceback(attempt: Attempt, before: Attempt | None) -> str | None:
    """None leaves the stored one as it is; "" takes away that of an end which no longer counts."""
    if attempt.traceback is None and before is not None and _end_of(attempt) != _end_of(before):
        return ""
    return attempt.traceback


def _end_of(attempt: Attempt) -> tuple[Any, ...]:
    return attempt.rank, attempt.ended_at, attempt.exception, attempt.run


def standing_change(cluster_id: int, before: Job | None, after: Job) -> tuple[str, Row]:
    """What becomes of the job's row in Standing: ("standing", row), ("settled", [id]) or ("", [])."""
    state = after.state
    if state == "succeeded":
        return ("settled", [after.id]) if before is not None and before.state != state else ("", [])
    if before is not None and (before.state, before.queue, before.task) == (state, after.queue, after.task):
        return ("", [])
    return ("standing", [after.id, cluster_id, state, after.queue, after.task])


def payload_rows(job: Job, events: Iterable[JobEvent]) -> list[Row]:
    """At most one row of Payload: what these events tell of what the job carries; NULL is "not told"."""
    told: dict[str, Any] = {}
    for event in events:
        told.update({name: event.facts[name] for name in PAYLOAD_FIELDS if name in event.facts})
        if "progress" in event.facts:
            told["progress"] = _progress(event)
    return [[job.id, *(told.get(name) for name in (*PAYLOAD_FIELDS, "progress"))]] if told else []


def _progress(event: JobEvent) -> str:
    told = {**event.facts["progress"], "at": event.at}
    try:
        text = orjson.dumps(told).decode()
    except orjson.JSONEncodeError:  # nested too deeply, half a surrogate pair, a number beyond 64 bits
        text = ""
    return text if 0 < len(text) <= PROGRESS_LENGTH else orjson.dumps({**told, "meta": None}).decode()


def bucket_row(cluster_id: int, tier: int, key: Key, tally: Tally) -> Sequence[Any]:
    """A row of Bucket, in the order of tables.BUCKET_KEY and BUCKET_COLUMNS."""
    counts = [tally.counts[name] for name in COUNTS]
    return [cluster_id, tier, key.minute, key.task, key.queue, *counts, tally.sketches.dumps()]
