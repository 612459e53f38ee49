"""Which jobs have come to nothing, and why: pure, from where a job stands.

One rule: a job that failed for good, and that Nightdesk or its task had tried
again before, or that no worker knew how to run. A job that failed at its first
attempt is a plain failure: nothing was given up, and its page offers a retry.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from jobs.events import DroppedMessage
from jobs.lifecycle import STEPS, Attempt, Job
from jobs.models.dead import Death, Settled
from jobs.store.tables import Row, moment

# How the text of an exception begins: Celery's for a lost process, `workers.poison`'s, Celery's for no task.
LOST, POISONED, NO_TASK = "WorkerLostError(", "WorkersLost(", "NotRegistered("
STARTED = STEPS["started"][0]


def why_dead(job: Job) -> Death | None:
    """Why this job has come to nothing; None if it hasn't."""
    last = job.deciding
    if last is None or last.state != "failed":
        return None
    if _began(last, NO_TASK) and last.received_at is None:
        return Death.UNKNOWN
    if _began(last, POISONED) or (_began(last, LOST) and losses(job) > 1):
        return Death.POISON
    return Death.RETRIES if last.retries else None


def losses(job: Job) -> int:
    """How many of its attempts ended with the loss of their process, or were never heard of again."""
    return sum(_began(one, LOST) or _vanished(job, one) for one in job.attempts.values())


def _began(attempt: Attempt, words: str) -> bool:
    return (attempt.exception or "").startswith(words)


def _vanished(job: Job, attempt: Attempt) -> bool:
    """It ran, nobody told of its end, and there is a later one."""
    later = max(job.attempts) > (attempt.retries, attempt.delivery)
    return attempt.rank == STARTED and later


def dead_rows(cluster_id: int, before: Job | None, after: Job) -> list[Row]:
    """At most one row, in the order of tables.DEAD_KEY and DEAD_COLUMNS: a death, or one that was none."""
    died, known = why_dead(after), before and why_dead(before)
    if died is not None and (before is None or _facts(before) != _facts(after)):
        return [_job_row(cluster_id, after, died, Settled.OPEN)]
    if died is None and known:
        return [_job_row(cluster_id, after, known, Settled.REVIVED)]
    return []


def _facts(job: Job) -> tuple[Any, ...]:
    last = job.deciding
    exception = last and last.exception
    return why_dead(job), job.task, job.queue, exception, len(job.attempts), job.ended_at


def _job_row(cluster_id: int, job: Job, why: Death, settled: Settled) -> Row:
    last = job.deciding
    at = moment(job.ended_at or job.seen_at)
    return [
        cluster_id, job.task_id,
        why.value, job.id, job.task_id, job.task, job.queue, last and last.exception, len(job.attempts),
        at, at, settled.value,
    ]  # fmt: skip


def message_rows(cluster_id: int, messages: Iterable[DroppedMessage]) -> list[Row]:
    """A row for each different message, in the order of tables.DEAD_KEY and MESSAGE_COLUMNS."""
    rows: dict[str, list[Any]] = {}
    for message in messages:
        known = rows.get(message.digest)
        rows[message.digest] = row = _message_row(cluster_id, message)
        if known is not None:
            _add(row, known)
    return [*rows.values()]


TIMES, SINCE, LAST = 8, 9, 10


def _add(row: list[Any], known: list[Any]) -> None:
    """The same message twice in one batch."""
    row[TIMES] += known[TIMES]
    row[SINCE], row[LAST] = min(row[SINCE], known[SINCE]), max(row[LAST], known[LAST])


def _message_row(cluster_id: int, told: DroppedMessage) -> list[Any]:
    at = moment(told.at)
    return [
        cluster_id, f"sha256:{told.digest}",
        Death.UNREADABLE.value, None, told.task_id, told.task, told.queue, told.exception, 1,
        at, at, Settled.OPEN.value,
        told.priority, told.content_type, told.content_encoding, told.headers, told.raw, told.size,
        told.shown, told.withheld,
    ]  # fmt: skip
