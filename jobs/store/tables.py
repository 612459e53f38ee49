"""The tables that the monitor writes, column by column: what both databases' SQL is made from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

Row = Sequence[Any]

JOB_KEY = ("id", "cluster_id", "task_id")
JOB_COLUMNS = (
    "task", "queue", "state", "retries", "delivery", "rank", "attempts", "published_retries", "priority",
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
    "online_at", "seen_at", "offline_at", "setup", "events", "received", "unstamped", "faults", "dropped",
    "held",
)  # fmt: skip
SERIES_KEY = ("cluster_id", "axis", "task", "place")
SERIES_COLUMNS = (
    "sent", "received", "started", "retried", "succeeded", "failed", "revoked", "rejected", "measures",
    "born_at", "moved_at",
)  # fmt: skip
LOG_KEY = ("job_id", "retries", "delivery", "first")
LOG_COLUMNS = ("lines", "left_out")
PAYLOAD_COLUMNS = ("args", "kwargs", "body", "withheld", "retries", "result", "progress", "progress_at")
# A column that keeps the greatest value told -> what came with that value.
PAYLOAD_LATEST = {"retries": ("args", "kwargs", "body", "withheld"), "progress_at": ("progress",)}
# Whoever has settled a letter has the last word on it, unless it only seemed to have come back to life.
DEAD_KEY = ("cluster_id", "key")
DEAD_COLUMNS = (
    "why", "job_id", "task_id", "task", "queue", "exception", "times", "since", "last_at", "settled",
)  # fmt: skip
DEAD_RULES = {"settled": "CASE WHEN {stored} IN ('', 'revived') THEN {told} ELSE {stored} END"}
MESSAGE_COLUMNS = (
    *DEAD_COLUMNS, "priority", "content_type", "content_encoding", "headers", "raw", "size", "shown",
    "withheld",
)  # fmt: skip
# The same message once more.
MESSAGE_RULES = {"times": "{stored} + {told}", "since": "{stored}"}


TIMES = frozenset({
    "published_at", "eta", "expires_at", "received_at", "started_at", "ended_at", "seen_at",
})  # fmt: skip


@dataclass(frozen=True)
class Table:
    """A table whose rows are written whole, but for three kinds of columns.

    One in `kept` stays as it is where a row says None. One in `latest` changes
    only to a greater value, and takes the columns named with it along. One in
    `rules` becomes what its rule makes of what is {stored} and what is {told}.
    """

    name: str
    key: tuple[str, ...]
    columns: tuple[str, ...]
    kept: tuple[str, ...] = ()
    latest: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    rules: Mapping[str, str] = field(default_factory=dict)

    @property
    def changes(self) -> str:
        """The SET clause of an upsert, the same in both databases."""
        leaders = {name: leader for leader, led in self.latest.items() for name in (leader, *led)}
        return ", ".join(f"{name} = {self._change(name, leaders.get(name))}" for name in self.columns)

    def _change(self, column: str, leader: str | None) -> str:
        told, stored = f"excluded.{column}", f"{self.name}.{column}"
        if column in self.rules:
            return self.rules[column].format(told=told, stored=stored)
        if leader is not None:
            return f"CASE WHEN {self._leads(leader)} THEN {told} ELSE {stored} END"
        return f"COALESCE({told}, {stored})" if column in self.kept else told

    def _leads(self, leader: str) -> str:
        told, stored = f"excluded.{leader}", f"{self.name}.{leader}"
        return f"{told} IS NOT NULL AND ({stored} IS NULL OR {told} > {stored})"


TABLES = {
    "job": Table("nightdesk_jobs_job", ("id",), (*JOB_KEY[1:], *JOB_COLUMNS)),
    "attempt": Table("nightdesk_jobs_attempt", ATTEMPT_KEY, ATTEMPT_COLUMNS, kept=("traceback",)),
    "standing": Table("nightdesk_jobs_standing", ("job_id",), ("cluster_id", "state", "queue", "task")),
    "payload": Table("nightdesk_jobs_payload", ("job_id",), PAYLOAD_COLUMNS, ("result",), PAYLOAD_LATEST),
    "log": Table("nightdesk_jobs_logpart", LOG_KEY, LOG_COLUMNS),
    "bucket": Table("nightdesk_jobs_bucket", BUCKET_KEY, BUCKET_COLUMNS),
    "series": Table("nightdesk_jobs_series", SERIES_KEY, SERIES_COLUMNS),
    "producer": Table("nightdesk_jobs_producer", ("id",), ("cluster_id", "last_seq", "lost", "seen_at")),
    "worker": Table("nightdesk_jobs_worker", ("producer",), WORKER_COLUMNS),
    "dead": Table("nightdesk_jobs_deadletter", DEAD_KEY, DEAD_COLUMNS, rules=DEAD_RULES),
    "message": Table("nightdesk_jobs_deadletter", DEAD_KEY, MESSAGE_COLUMNS, rules=MESSAGE_RULES),
    "ungrouped": Table("nightdesk_jobs_ungrouped", ("job_id", "mark"), ("cluster_id",)),
}


MOVE = (
    "UPDATE nightdesk_jobs_position SET last_id = %s, committed_at = %s, lag = %s, "
    "last_event_at = COALESCE(%s, last_event_at) WHERE id = %s AND last_id = %s"
)


@dataclass(frozen=True)
class Move:
    """The position goes on, from an id of the stream to another; times in seconds since the epoch."""

    position_id: int
    before: str
    after: str
    event_at: float | None
    now: float
    lag: float

    @property
    def values(self) -> Row:
        """What MOVE asks for."""
        return [
            self.after, moment(self.now), self.lag, moment(self.event_at), self.position_id, self.before,
        ]  # fmt: skip


@lru_cache(maxsize=20_000)  # the times of an attempt are those of its job
def moment(seconds: float | None) -> str | None:
    """A time as text that both databases take for UTC (Django's connections to PostgreSQL speak UTC).

    `seconds` since the epoch, in whole microseconds.
    """
    if seconds is None:
        return None
    whole = int(seconds)
    microseconds = int((seconds - whole) * 1_000_000 + 0.5)
    return f"{_second(whole)}.{microseconds:06d}" if 0 < microseconds < 1_000_000 else _exact(seconds)


@lru_cache(maxsize=10_000)
def _second(whole: int) -> str:
    return _exact(whole)


def _exact(seconds: float) -> str:
    return str(datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None))
