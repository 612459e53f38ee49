"""The tables that the monitor writes, column by column: what both databases' SQL is made from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

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
PAYLOAD_COLUMNS = ("args", "kwargs", "body", "withheld", "result", "progress")


@dataclass(frozen=True)
class Table:
    """A table whose rows are written whole; a column in `kept` stays as it is where a row says None."""

    name: str
    key: tuple[str, ...]
    columns: tuple[str, ...]
    kept: tuple[str, ...] = ()


TABLES = {
    "job": Table("nightdesk_jobs_job", ("id",), (*JOB_KEY[1:], *JOB_COLUMNS)),
    "attempt": Table("nightdesk_jobs_attempt", ATTEMPT_KEY, ATTEMPT_COLUMNS, kept=("traceback",)),
    "standing": Table("nightdesk_jobs_standing", ("job_id",), ("cluster_id", "state", "queue", "task")),
    "payload": Table("nightdesk_jobs_payload", ("job_id",), PAYLOAD_COLUMNS, kept=PAYLOAD_COLUMNS),
    "bucket": Table("nightdesk_jobs_bucket", BUCKET_KEY, BUCKET_COLUMNS),
    "producer": Table("nightdesk_jobs_producer", ("id",), ("cluster_id", "last_seq", "lost", "seen_at")),
    "worker": Table("nightdesk_jobs_worker", ("producer",), WORKER_COLUMNS),
}


def moment(seconds: float | None) -> str | None:
    """A time as text that both databases take for UTC (Django's connections to PostgreSQL speak UTC)."""
    if seconds is None:
        return None
    return str(datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None))
