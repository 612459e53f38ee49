"""The record's writes, for SQLite: plain multi-row upserts.

One process writes, fenced by the position (`move_position`), so the rows it
holds in memory are the truth and each upsert carries whole rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from django.db import connection

Row = Sequence[Any]

JOB_KEY = ("id", "cluster_id", "task_id")
JOB_COLUMNS = (
    "task", "queue", "state", "retries", "delivery", "rank", "attempts", "priority",
    "published_at", "eta", "expires_at", "received_at", "started_at", "ended_at", "ended_minute", "seen_at",
    "wait", "run", "total", "worker", "exception",
    "root_id", "parent_id", "group_id", "retry_of", "schedule", "origin", "release",
)  # fmt: skip
ATTEMPT_KEY = ("job_id", "retries", "delivery")
ATTEMPT_COLUMNS = (
    "state", "rank", "worker", "published_at", "eta", "received_at", "started_at", "ended_at", "run",
    "exception", "traceback",
)  # fmt: skip
BUCKET_KEY = ("cluster_id", "tier", "start", "task", "queue")
BUCKET_COLUMNS = (
    "published", "started", "retried", "succeeded", "failed", "revoked", "rejected", "sketches",
)  # fmt: skip
WORKER_COLUMNS = (
    "cluster_id", "name", "pid", "queues", "slots", "busy", "processed", "load", "version", "release", "freq",
    "online_at", "seen_at", "offline_at",
)  # fmt: skip


def moment(seconds: float | None) -> str | None:
    """A time as Django keeps it in SQLite."""
    if seconds is None:
        return None
    return str(datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None))


def upsert(table: str, key: Sequence[str], columns: Sequence[str], kept: Iterable[str] = ()) -> str:
    """An upsert of whole rows; a column in `kept` stays as it is where the new row says NULL."""
    names = (*key, *columns)
    kept = set(kept)
    updates = ", ".join(
        f"{c} = COALESCE(excluded.{c}, {table}.{c})" if c in kept else f"{c} = excluded.{c}" for c in columns
    )
    return (
        f"INSERT INTO {table} ({', '.join(names)}) VALUES ({', '.join(['%s'] * len(names))}) "  # noqa: S608 names of our own
        f"ON CONFLICT ({', '.join(key)}) DO UPDATE SET {updates}"
    )


_PAYLOAD = ("args", "kwargs", "body", "withheld", "result", "progress")
_SQL = {
    "job": upsert("nightdesk_jobs_job", ("id",), (*JOB_KEY[1:], *JOB_COLUMNS)),
    "attempt": upsert("nightdesk_jobs_attempt", ATTEMPT_KEY, ATTEMPT_COLUMNS, kept=["traceback"]),
    "standing": upsert("nightdesk_jobs_standing", ("job_id",), ("cluster_id", "state", "queue", "task")),
    "payload": upsert("nightdesk_jobs_payload", ("job_id",), _PAYLOAD, kept=_PAYLOAD),
    "bucket": upsert("nightdesk_jobs_bucket", BUCKET_KEY, BUCKET_COLUMNS),
    "producer": upsert("nightdesk_jobs_producer", ("id",), ("cluster_id", "last_seq", "lost", "seen_at")),
    "worker": upsert("nightdesk_jobs_worker", ("producer",), WORKER_COLUMNS),
    "settled": "DELETE FROM nightdesk_jobs_standing WHERE job_id = %s",
}


def write(kind: str, rows: Sequence[Row]) -> None:
    """Write rows of one kind: a key of _SQL."""
    if rows:
        with connection.cursor() as cursor:
            cursor.executemany(_SQL[kind], rows)


def move_position(
    position_id: int, before: str, after: str, event_at: float | None, now: float, lag: float
) -> bool:
    """Move the position by compare-and-set; False if somebody else has moved it."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE nightdesk_jobs_position SET last_id = %s, committed_at = %s, lag = %s, "
            "last_event_at = COALESCE(%s, last_event_at) WHERE id = %s AND last_id = %s",
            [after, moment(now), lag, moment(event_at), position_id, before],
        )
        moved: int = cursor.rowcount
    return moved == 1
