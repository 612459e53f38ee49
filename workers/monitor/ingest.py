"""The loop that brings the stream into the record: drain, commit, tell the pages.

It keeps nothing that the database doesn't have: after any fault it starts
again from the committed position.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import redis
import structlog
from django.db import DatabaseError, close_old_connections
from redis.backoff import NoBackoff
from redis.retry import Retry

from jobs import models
from jobs.batch import StreamEntry
from jobs.record import Committed, Fenced, Record
from nightdesk.entry import stream_time
from workers.monitor.lease import Lease

logger = structlog.get_logger(__name__)

STREAM = "nightdesk:events"
GATHER_SECONDS = 0.1
FIRST_ENTRIES, BATCH_ENTRIES = 50, 500
BATCH_BYTES = 4_000_000
BLOCK_MS = 1000
LEASE_SECONDS = 2.0
TRIM_SECONDS = 5.0
PAUSE_FIRST, PAUSE_LONGEST = 0.25, 5.0


def reading_client(url: str) -> redis.Redis:
    """A client whose blocking reads outlast its timeout, and that repeats nothing by itself."""
    return redis.Redis.from_url(
        url, socket_timeout=BLOCK_MS / 1000 + 4, socket_connect_timeout=3, retry=Retry(NoBackoff(), 0)
    )


class Ingest:
    """One loop, one record. `committed` is called after each commit and must not block."""

    def __init__(self, url: str, committed: Callable[[Committed], None], stream: str = STREAM) -> None:
        self._client = reading_client(url)
        self._committed = committed
        self._stream = stream
        self._lease = Lease(self._client, f"monitor:{stream}")
        self._lease_until = 0.0
        self._trim_at = 0.0
        self._record: Record | None = None
        self._recorded_to: str | None = None
        self._held: bool | None = None
        self._count = FIRST_ENTRIES

    @property
    def leading(self) -> bool:
        """Whether this monitor is the one that works."""
        return bool(self._held)

    def lag(self) -> float | None:
        """Seconds since the first event that is not recorded yet; 0 if all are, None if nobody can tell.

        Called from another thread than `run`.
        """
        if self._recorded_to is None:
            return None
        try:
            unread: Any = self._client.xread({self._stream: self._recorded_to}, count=1)
        except redis.RedisError:
            return None
        if not unread:
            return 0.0
        [(_, [(first_id, _)])] = unread
        return max(0.0, time.time() - stream_time(first_id.decode()))

    def run(self, stop: threading.Event) -> None:
        """Work until told to stop. No fault ends it: it is logged once, and tried again with backoff."""
        pause = PAUSE_FIRST
        while not stop.is_set():
            try:
                self._turn(stop)
                pause = PAUSE_FIRST
            except Exception as fault:  # noqa: BLE001 the top of a long-running loop
                self._start_over(fault, pause)
                stop.wait(pause)
                pause = min(pause * 2, PAUSE_LONGEST)
        self._leave()

    def _turn(self, stop: threading.Event) -> None:
        if not self._lead():
            stop.wait(LEASE_SECONDS / 2)
            return
        record = self._record or self._open_record()
        entries = self._read(record.last_id)
        if entries:
            self._commit(record, entries)
        self._recorded_to = record.last_id
        self._trim(record.last_id)

    def _lead(self) -> bool:
        now = time.monotonic()
        if now >= self._lease_until:
            held = self._lease.hold()
            if held != self._held:
                logger.info("this monitor leads" if held else "another monitor leads; this one stands by")
            self._held = held
            self._lease_until = now + LEASE_SECONDS
            if not held:
                self._record = None
        return self.leading

    def _open_record(self) -> Record:
        close_old_connections()
        record = Record(self._stream)
        self._note_trimmed_span(record)
        self._record = record
        return record

    def _read(self, last_id: str) -> list[StreamEntry]:
        """What has arrived, after waiting a moment for company."""
        asked = self._count
        first = self._xread(last_id, block=BLOCK_MS)
        if not first:
            return []
        time.sleep(GATHER_SECONDS)
        if len(first) == asked:
            return first
        return first + self._xread(first[-1][0], block=None)

    def _xread(self, after: str, block: int | None) -> list[StreamEntry]:
        reply: Any = self._client.xread({self._stream: after}, count=self._count, block=block)
        read = [(stream_id.decode(), fields) for _, entries in reply for stream_id, fields in entries]
        self._count = next_count(self._count, [sum(map(len, fields.values())) for _, fields in read])
        return read

    def _commit(self, record: Record, entries: list[StreamEntry]) -> None:
        try:
            self._committed(record.commit(entries))
        except Fenced:
            logger.warning("another monitor has moved the position; reading again from there")
            self._record = None

    def _trim(self, committed_id: str) -> None:
        """Give back the memory of what is committed, now and then."""
        if time.monotonic() >= self._trim_at:
            self._client.xtrim(self._stream, minid=committed_id, approximate=True)
            self._trim_at = time.monotonic() + TRIM_SECONDS

    def _note_trimmed_span(self, record: Record) -> None:
        """Where the stream's hard cap has cut entries that nobody had read, say so."""
        deleted = self._deleted_up_to()
        if deleted is not None and _order(deleted) > _order(record.last_id) and record.last_id != "0-0":
            models.Gap.objects.get_or_create(
                source=self._stream,
                reason="cap",
                began_at=datetime.fromtimestamp(stream_time(record.last_id), UTC),
                ended_at=datetime.fromtimestamp(stream_time(deleted), UTC),
            )

    def _deleted_up_to(self) -> str | None:
        """The highest id that was ever cut off; None where this Redis (before 7.0) can't tell."""
        if not self._client.exists(self._stream):
            return None
        told: Any = self._client.xinfo_stream(self._stream)
        deleted = told.get("max-deleted-entry-id")
        return deleted.decode() if isinstance(deleted, bytes) else deleted

    def _start_over(self, fault: Exception, pause: float) -> None:
        self._record = None
        self._lease_until = 0.0
        expected = isinstance(fault, redis.RedisError | DatabaseError | OSError)
        logger.warning("ingest stopped; again in %.2f s: %s", pause, fault, exc_info=not expected)
        close_old_connections()

    def _leave(self) -> None:
        if self.leading:
            try:
                self._lease.release()
            except redis.RedisError as fault:
                logger.info("the lease runs out by itself: %s", fault)


def next_count(asked: int, sizes: Sequence[int]) -> int:
    """How many entries to ask for next: about BATCH_BYTES, since a commit holds them in memory, and the
    database's one write lock from results and pages; few after a pause, when their size isn't known."""
    if sum(sizes) > BATCH_BYTES:
        return max(1, asked * BATCH_BYTES // sum(sizes))
    return min(BATCH_ENTRIES, asked * 2) if len(sizes) == asked else max(1, min(asked, FIRST_ENTRIES))


def _order(stream_id: str) -> tuple[int, int]:
    milliseconds, _, number = stream_id.partition("-")
    return int(milliseconds), int(number or 0)
