"""Events of this process on their way to the stream.

`put` costs a caller microseconds: it encodes the event and appends it to a
bounded buffer. A thread of its own sends what is there, keeps it while Redis
is away, and numbers every event, so that what is lost can be counted.
"""

from __future__ import annotations

import logging
import os
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from nightdesk import entry
from nightdesk.encoding import encode
from nightdesk.options import Options
from nightdesk.spool import Spool

ENTRY_EVENTS = 100
ENTRY_BYTES = 500_000
OFFSET_SAMPLES = 32
REDIS_TIMEOUT = 2.0
RETRY_FIRST, RETRY_LONGEST = 0.1, 2.0
CLOCK_WAIT = 0.02
SWEEP_EVERY = 5.0

logger = logging.getLogger("nightdesk")


class StreamWriter:
    """The one writer of a process. Safe to use from any thread, and after a fork."""

    def __init__(self, options: Options, clock: Callable[[], float] = time.time) -> None:
        redis.Redis.from_url(options.url).close()  # a wrong one should fail here, not in a thread
        self._options = options
        self._clock = clock
        # A fork keeps what is known of the clock: it is its host's.
        self.offset: float | None = None
        self._offsets: deque[float] = deque(maxlen=OFFSET_SAMPLES)
        self._spool = _spool_of(options) if options.spool else None
        self.restart()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self.restart)

    def restart(self) -> None:
        """Start as a new producer, with an empty buffer: so begins each process, and each fork of one."""
        self.producer = uuid.uuid4().hex
        self.dropped = 0
        self._first_seq = 1
        self._pending: deque[str] = deque()
        self._pending_bytes = 0
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._idle = threading.Event()
        self._idle.set()
        self._clock_known = threading.Event()
        self._closing = False
        self._thread: threading.Thread | None = None
        self._client: redis.Redis | None = None
        self._sent_at = self._swept_at = 0.0
        self._asked = False
        if self._spool is not None:
            self._spool.abandon()

    def now(self) -> float:
        """The time by the stream's clock, as near as this process knows it."""
        return self._clock() + (self.offset or 0.0)

    def asked_now(self) -> float | None:
        """The time by the stream's clock, asked for once, for CLOCK_WAIT; None while that is not known."""
        if self.offset is None and not self._asked:
            self._asked = True
            with self._lock:
                self._start()
            self._clock_known.wait(CLOCK_WAIT)
        return None if self.offset is None else self._clock() + self.offset

    def put(self, event: dict[str, Any]) -> None:
        """Hand over an event. Returns at once; raises only if it can't be JSON."""
        text = encode(event)
        with self._lock:
            self._pending.append(text)  # with this it has its number
            self._pending_bytes += len(text)
            self._keep(self._first_seq + len(self._pending) - 1, text)
            self._drop_what_overflows()
            if self._idle.is_set():
                self._idle.clear()
            self._start()
        if not self._wake.is_set():
            self._wake.set()

    def drain(self, timeout: float) -> bool:
        """Wait until everything is sent, for at most `timeout` seconds."""
        self._closing = True
        self._wake.set()
        sent = self._idle.wait(timeout)
        with self._lock:
            if not self._pending:
                self._close_the_spool()
        return sent

    def _keep(self, seq: int, text: str) -> None:
        """Into the spool, if there is one. A disk that is full or gone costs the spool, nothing else."""
        if self._spool is None:
            return
        try:
            if not self._spool.is_open:
                self._spool.open(self.producer)
            self._spool.append(seq, text)
        except OSError as fault:
            self._give_up_the_spool(fault)

    def _drop_what_overflows(self) -> None:
        before = self.dropped
        while self._pending_bytes > self._options.buffer_bytes and len(self._pending) > 1:
            self._drop_oldest()
            self.dropped += 1
        if self.dropped > before:
            self._forget_in_the_spool()

    def _drop_oldest(self) -> None:
        self._pending_bytes -= len(self._pending.popleft())
        self._first_seq += 1

    def _start(self) -> None:
        if self._thread is not None:
            return
        self._thread = threading.Thread(target=self._run, name="nightdesk-writer", daemon=True)
        try:
            self._thread.start()
        except RuntimeError:  # no thread is to be had, or the interpreter ends; the next event tries again
            self._thread = None

    def _run(self) -> None:
        self._ask_for_the_time()
        delay = RETRY_FIRST
        while self._thread is threading.current_thread():
            self._wake.wait()
            self._linger()
            self._wake.clear()
            try:
                self._send_all()
                self._send_for_the_dead()
                delay = RETRY_FIRST
            except Exception:  # noqa: BLE001 the top of a long-running loop: mostly Redis is away
                self._forget_client()
                time.sleep(delay)
                delay = min(delay * 2, RETRY_LONGEST)
                self._wake.set()

    def _linger(self) -> None:
        """Wait for company, unless the last send is long ago."""
        left = self._sent_at + self._options.linger - time.monotonic()
        if left > 0 and not self._closing:
            time.sleep(left)

    def _ask_for_the_time(self) -> None:
        try:
            for _ in range(2 if self.offset is None else 0):  # the first one includes connecting
                asked_at = self._clock()
                seconds, microseconds = self._connected().time()
                self._learn_offset(seconds + microseconds / 1_000_000 - asked_at)
        except redis.RedisError:
            self._forget_client()
        self._clock_known.set()

    def _send_all(self) -> None:
        while waiting := self._oldest_waiting():
            for first_seq, events in cut_into_entries(*waiting):
                self._send(self.producer, first_seq, events)
                self._forget_sent(first_seq + len(events) - 1)
        self._sent_at = time.monotonic()
        with self._lock:
            if not self._pending:
                self._idle.set()

    def _oldest_waiting(self) -> tuple[int, list[str]] | None:
        """The oldest pending events, with the number of the first."""
        with self._lock:
            return (self._first_seq, list(islice(self._pending, ENTRY_EVENTS))) if self._pending else None

    def _send(self, producer: str, first_seq: int, events: Sequence[str]) -> None:
        sent = self._clock()
        fields = entry.encode(producer, first_seq, events, sent, self.offset)
        words = [word for pair in fields.items() for word in pair]
        options = self._options
        stream_id = self._connected().execute_command(  # type: ignore[no-untyped-call]
            "XADD", options.stream, "MAXLEN", "~", options.stream_cap, "*", *words
        )
        self._learn_offset(entry.stream_time(_text(stream_id)) - sent)

    def _learn_offset(self, sample: float) -> None:
        """Delay only ever makes a sample larger, so the smallest of the last ones is the best."""
        self._offsets.append(sample)
        self.offset = min(self._offsets)

    def _forget_sent(self, last_sent: int) -> None:
        """Take what was sent off the buffer, less what overflowed meanwhile."""
        with self._lock:
            while self._pending and self._first_seq <= last_sent:
                self._drop_oldest()
            self._forget_in_the_spool()

    def _send_for_the_dead(self) -> None:
        """Send what others of this host left in the spool when they were killed, under their own numbers."""
        if self._spool is None or time.monotonic() - self._swept_at < SWEEP_EVERY:
            return
        self._swept_at = time.monotonic()
        for producer, first_seq, events in self._spool.orphans():
            for first, some in cut_into_entries(first_seq, events):
                self._send(producer, first, some)

    def _forget_in_the_spool(self) -> None:
        if self._spool is None:
            return
        try:
            self._spool.forget_before(self._first_seq)
        except OSError as fault:
            self._give_up_the_spool(fault)

    def _close_the_spool(self) -> None:
        if self._spool is None:
            return
        try:
            self._spool.close()
        except OSError as fault:
            self._give_up_the_spool(fault)

    def _give_up_the_spool(self, fault: OSError) -> None:
        logger.warning("the spool can't be used, this process goes on without it: %s", fault)
        self._spool = None

    def _connected(self) -> redis.Redis:
        if self._client is None:
            self._client = redis.Redis.from_url(
                self._options.url,
                socket_timeout=REDIS_TIMEOUT,
                socket_connect_timeout=REDIS_TIMEOUT,
                # A timed-out command may have been executed; the sequence numbers make a
                # repeat harmless, hidden retries would only hide it.
                retry=Retry(NoBackoff(), 0),
            )
        return self._client

    def _forget_client(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None


def cut_into_entries(first_seq: int, events: Sequence[str]) -> list[tuple[int, list[str]]]:
    """Cut events into entries of at most ENTRY_EVENTS events and about ENTRY_BYTES characters."""
    entries: list[tuple[int, list[str]]] = []
    size = 0
    for seq, event in enumerate(events, first_seq):
        if not entries or len(entries[-1][1]) >= ENTRY_EVENTS or size + len(event) > ENTRY_BYTES:
            entries.append((seq, []))
            size = 0
        entries[-1][1].append(event)
        size += len(event)
    return entries


def _spool_of(options: Options) -> Spool:
    return Spool(options.spool, options.url, options.stream, options.buffer_bytes)


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
