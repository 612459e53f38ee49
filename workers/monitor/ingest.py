"""The loop that brings the stream into the record: drain, prepare, write, tell the pages.

While one batch is written, the next one is read and prepared. The loop keeps
nothing that it couldn't read again: after any fault it starts anew from the
committed position.
"""

from __future__ import annotations

import gc
import threading
import time
from collections import deque
from collections.abc import Callable, Collection

import redis
import structlog
from django.db import DatabaseError, OperationalError, close_old_connections
from django.db import Error as DatabaseFault
from redis.backoff import NoBackoff
from redis.retry import Retry

from jobs.batch import REFUSALS, StreamEntry
from jobs.record import Committed, Fenced, Prepared, Record
from jobs.store import faults
from nightdesk.entry import stream_time
from workers.monitor.caution import Caution
from workers.monitor.events import BATCH_ENTRIES, BLOCK_MS, EventStream, order
from workers.monitor.lease import Lease
from workers.monitor.writing import BatchWriter

logger = structlog.get_logger(__name__)

STREAM = "nightdesk:events"
LEASE_SECONDS = 2.0
TEND_SECONDS = 5.0
PAUSE_FIRST, PAUSE_LONGEST = 0.25, 5.0
# A batch makes a hundred thousand objects, none of them in a cycle: with Python's own thresholds a
# quarter of the time goes into looking for some.
GC_THRESHOLDS = (50_000, 50, 100)


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
        self._writer = BatchWriter(self._note_commit)
        self._stream = stream
        self._events = EventStream(self._client, stream)
        self._caution = Caution(self._client, stream)
        self._lease = Lease(self._client, f"monitor:{stream}")
        self._lease_until = 0.0
        self._tend_at = 0.0
        self._record: Record | None = None
        self._recorded_to: str | None = None
        self._on_disk_to: str | None = None
        self._careful_to: str | None = None
        self._held: bool | None = None
        self._failed_with: str | None = None
        self._forgotten: deque[int] = deque()

    @property
    def leading(self) -> bool:
        """Whether this monitor is the one that works."""
        return bool(self._held)

    @property
    def recorded_to(self) -> str | None:
        """The id of the last entry that is recorded; None before the first look. For other threads."""
        return self._recorded_to

    def forget(self, ids: Collection[int]) -> None:
        """These jobs were deleted from the record. Called from another thread than `run`."""
        self._forgotten.extend(ids)

    def lag(self) -> float | None:
        """Seconds since the first event that is not recorded yet; 0 if all are, None if nobody can tell.

        Called from another thread than `run`.
        """
        if self._recorded_to is None:
            return None
        try:
            unread = self._events.next_id(self._recorded_to)
        except redis.RedisError:
            return None
        return max(0.0, time.time() - stream_time(unread)) if unread else 0.0

    def run(self, stop: threading.Event) -> None:
        """Work until told to stop. No fault ends it: it is logged once, and tried again with backoff."""
        gc.set_threshold(*GC_THRESHOLDS)
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
        try:
            self._advance(record)
        except Fenced:
            logger.warning("another monitor has moved the position; reading again from there")
            self._record = None
        if self._record is not None:
            self._tend(record)

    def _advance(self, record: Record) -> None:
        """One batch further."""
        place = record.last_id
        if self._caution.watches and self._is_ahead(place):
            self._caution.begin(place)
        if self._caution.hopeless(place):
            self._set_aside(record)
            return
        if self._caution.refused:
            record.touch()
            self._caution.condemn(place)
        most = 1 if self._caution.alone else BATCH_ENTRIES
        entries = self._events.read(place, most, wait=not self._writer.busy)
        try:
            self._commit(record, entries)
        except OperationalError:
            raise
        except (DatabaseError, *REFUSALS) as fault:
            if self._caution.alone or self._is_careful(place):
                raise
            logger.warning("a batch was refused (%s); reading again from before it, with care", fault)
            self._careful_to = entries[-1][0] if entries else record.last_id
            self._record = None

    def _forget(self, record: Record) -> None:
        if self._forgotten:
            record.forget({self._forgotten.popleft() for _ in range(len(self._forgotten))})

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
        self._drop_what_is_written()
        close_old_connections()
        self._record = record = Record(self._stream)
        if self._failed_with is not None:
            self._caution.failed(record.last_id, self._failed_with)
            self._failed_with = None
        # What the database says is recorded: one that can write nothing from its start is late all the same.
        self._recorded_to = record.last_id
        self._look(record)
        return record

    def _commit(self, record: Record, entries: list[StreamEntry]) -> None:
        self._forget(record)
        if not entries:
            self._writer.wait()
            self._recorded_to = record.last_id
        elif self._caution.alone or self._is_careful(record.last_id):
            self._commit_at_once(record, entries)
        else:
            self._writer.submit(record, record.prepare(entries))

    def _is_careful(self, last_id: str) -> bool:
        """Whether something ahead was refused: `Record.commit` sets it aside."""
        return self._careful_to is not None and order(last_id) < order(self._careful_to)

    def _commit_at_once(self, record: Record, entries: list[StreamEntry]) -> None:
        self._writer.wait()
        self._note(record.last_id, record.commit(entries))

    def _set_aside(self, record: Record) -> None:
        """The next entry has killed its readers, or is refused by a database that takes others."""
        place, fault = record.last_id, self._caution.fault
        next_id = self._events.next_id(place)
        if next_id is None:
            self._caution.passed()
        elif fault is None:
            self._note(next_id, record.set_aside(next_id, "killed its reader"))
        else:
            self._note(next_id, self._refuse(record, next_id, fault))
        logger.error("entry %s is set aside: %s", next_id, fault or "it has killed its readers")

    def _refuse(self, record: Record, entry_id: str, fault: str) -> Committed:
        """Set aside what an entry holds, or where that is refused as well, the entry unread."""
        try:
            aside = self._events.read(record.last_id, 1)
            return record.write(record.prepare(aside, refused=f"refused: {fault}"))
        except OperationalError:
            raise
        except (DatabaseError, *REFUSALS):
            record.reload()
            return record.set_aside(entry_id, f"refused: {fault}")

    def _note_commit(self, prepared: Prepared, committed: Committed) -> None:
        self._note(prepared.last_id, committed)

    def _note(self, last_id: str, committed: Committed) -> None:
        self._recorded_to = last_id
        self._caution.passed()
        self._committed(committed)

    def _is_ahead(self, place: str) -> bool:
        """Whether the stream goes on after `place`."""
        look = self._events.look(place)
        return look is not None and order(look.last_id) > order(place)

    def _tend(self, record: Record) -> None:
        """Now and then: see what was cut off, and give back the memory of what is committed."""
        if self._recorded_to is not None and time.monotonic() >= self._tend_at:
            self._look(record)
            # No further than was committed the last time: by now that is on the database's disk.
            if self._on_disk_to is not None:
                self._events.trim(self._on_disk_to)
            self._on_disk_to = self._recorded_to
            self._tend_at = time.monotonic() + TEND_SECONDS

    def _look(self, record: Record) -> None:
        """Say where the stream has lost what nobody had read; start anew where it is another one."""
        place = record.last_id
        look = None if place == "0-0" else self._events.look(place)
        if look is None or look.holds:
            return
        if order(look.last_id) < order(place):
            self._writer.wait()
            logger.warning("the stream is another one than was read; it is read from its beginning")
            record.rewind()
            self._recorded_to, self._on_disk_to = record.last_id, None
        else:
            reason = "replaced" if look.uncut else "cap"
            record.note_gap(reason, stream_time(place), stream_time(look.first_id))

    def _start_over(self, fault: Exception, pause: float) -> None:
        self._record = None
        if not isinstance(fault, redis.RedisError | OSError) and faults.may_be_of_the_data(fault):
            self._failed_with = type(fault).__name__
        self._drop_what_is_written()
        self._lease_until = 0.0
        expected = isinstance(fault, redis.RedisError | DatabaseError | OSError)
        logger.warning("ingest stopped; again in %.2f s: %s", pause, fault, exc_info=not expected)
        close_old_connections()

    def _drop_what_is_written(self) -> None:
        """The batch in hand commits or doesn't; the position will tell."""
        try:
            self._writer.wait()
        except (Fenced, DatabaseFault, redis.RedisError, OSError, *REFUSALS) as fault:
            logger.info("the batch in hand was not written: %s", fault)

    def _leave(self) -> None:
        self._drop_what_is_written()
        self._writer.close()
        if self.leading:
            try:
                self._lease.release()
            except redis.RedisError as fault:
                logger.info("the lease runs out by itself: %s", fault)
