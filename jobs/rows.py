"""From memory into rows: pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from jobs.events import JobEvent
from jobs.lifecycle import Attempt, Job, run_of
from jobs.metrics.counting import Key as SeriesKey
from jobs.metrics.counting import Tally as SeriesTally
from jobs.rollups import COUNTS, Key, Tally, minute_of
from jobs.store.tables import moment

Row = list[Any]
NO_ATTEMPT = Attempt(retries=0, delivery=0)
CARRYING = frozenset({"sent", "received", "unknown"})
_NOTHING = (None,) * 5
PROGRESS_LENGTH = 10_000


def job_row(cluster_id: int, job: Job) -> Row:
    """A row of Job, in the order of tables.JOB_KEY and store.JOB_COLUMNS."""
    attempt = job.deciding or NO_ATTEMPT
    ended_at = job.ended_at
    return [
        job.id, cluster_id, job.task_id,
        job.task, job.queue, job.state,
        max(attempt.retries, job.published_retries), attempt.delivery, attempt.rank,
        len(job.attempts), job.published_retries, job.priority,
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


def payload_rows(before: Job | None, after: Job, events: Sequence[JobEvent]) -> list[Row]:
    """At most one row of Payload, in the order of PAYLOAD_COLUMNS; NULL is "not told".

    What the job carries is from the publish of the highest retries, its result
    from the highest attempt that succeeded, its progress the latest by time.
    """
    carried = reported = None
    for event in events:
        if event.kind == "progress":
            reported = event if reported is None or event.at > reported.at else reported
        elif event.kind in CARRYING and _carries(event):
            carried = event if carried is None or (event.retries or 0) > (carried.retries or 0) else carried
    result = _result(before, after)
    if carried is None and reported is None and result is None:
        return []
    return [[
        after.id,
        *(_NOTHING if carried is None else _carried(carried)),
        result,
        None if reported is None else _progress(reported), moment(reported.at if reported else None),
    ]]  # fmt: skip


def _carries(event: JobEvent) -> bool:
    """Whether it is a publish or a receipt that tells what the message holds."""
    return event.args is not None or event.kwargs is not None or event.withheld is not None


def _carried(event: JobEvent) -> tuple[Any, ...]:
    return event.args, event.kwargs, event.body, event.withheld, event.retries or 0


def _result(before: Job | None, after: Job) -> str | None:
    """None leaves the stored one as it is; "" takes it away, where a success without one decides now."""
    now, earlier = _last_success(after), before and _last_success(before)
    if now is None or (earlier and (_key(earlier), _end_of(earlier)) == (_key(now), _end_of(now))):
        return None
    return (now.result or "") if earlier else now.result


def _last_success(job: Job) -> Attempt | None:
    if job.deciding is not None and job.deciding.state == "succeeded":
        return job.deciding
    return max((a for a in job.attempts.values() if a.state == "succeeded"), key=_key, default=None)


def _key(attempt: Attempt) -> tuple[int, int]:
    return attempt.retries, attempt.delivery


def _progress(event: JobEvent) -> str:
    told = {"state": event.progress, "meta": event.meta, "at": event.at}
    try:
        text = orjson.dumps(told).decode()
    except orjson.JSONEncodeError:  # nested too deeply, half a surrogate pair, a number beyond 64 bits
        text = ""
    return text if 0 < len(text) <= PROGRESS_LENGTH else orjson.dumps({**told, "meta": None}).decode()


def bucket_row(cluster_id: int, tier: int, key: Key, tally: Tally) -> Sequence[Any]:
    """A row of Bucket, in the order of tables.BUCKET_KEY and BUCKET_COLUMNS."""
    counts = [tally.counts[name] for name in COUNTS]
    return [cluster_id, tier, key.minute, key.task, key.queue, *counts, tally.sketches.dumps()]


def series_row(cluster_id: int, key: SeriesKey, tally: SeriesTally) -> Sequence[Any]:
    """A row of Series, in the order of tables.SERIES_KEY and SERIES_COLUMNS."""
    return [cluster_id, *key, *tally.counts, tally.dumps(), moment(tally.born), moment(tally.moved)]
