"""Events of this process on their way to the stream.

`put` costs a caller microseconds: it encodes the event and appends it to a
bounded buffer. A thread of its own sends what is there, keeps it while Redis
is away, and numbers every event, so that what is lost can be counted.
"""

from __future__ import annotations

import os
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import redis
from kombu.utils import json
from redis.backoff import NoBackoff
from redis.retry import Retry

from nightdesk import entry
from nightdesk.options import Options

ENTRY_EVENTS = 100
ENTRY_BYTES = 500_000
PIPELINE_ENTRIES = 20
OFFSET_SAMPLES = 32
REDIS_TIMEOUT = 2.0
RETRY_FIRST, RETRY_LONGEST = 0.1, 2.0


class StreamWriter:
    """The one writer of a process. Safe to use from any thread, and after a fork."""

    def __init__(self, options: Options, clock: Callable[[], float] = time.time) -> None:
        redis.Redis.from_url(options.url).close()  # a wrong one should fail here, not in a thread
        self._options = options
        self._clock = clock
        # A fork keeps what is known of the clock: it is its host's.
        self.offset: float | None = None
        self._offsets: deque[float] = deque(maxlen=OFFSET_SAMPLES)
        self.restart()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self.restart)

    def restart(self) -> None:
        """Start as a new producer, with an empty buffer: so begins each process, and each fork of one."""
        self.producer = uuid.uuid4().hex
        self.dropped = 0
        self._last_seq = 0
        self._pending: deque[str] = deque()
        self._pending_bytes = 0
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._idle = threading.Event()
        self._idle.set()
        self._closing = False
        self._thread: threading.Thread | None = None
        self._client: redis.Redis | None = None

    def now(self) -> float:
        """The time by the stream's clock, as near as this process knows it."""
        return self._clock() + (self.offset or 0.0)

    def put(self, event: dict[str, Any]) -> None:
        """Hand over an event. Returns at once; raises only if it isn't JSON."""
        text = json.dumps(event)
        with self._lock:
            self._last_seq += 1
            self._pending.append(text)
            self._pending_bytes += len(text)
            self._drop_what_overflows()
            self._idle.clear()
            if self._thread is None:
                self._start()
        self._wake.set()

    def drain(self, timeout: float) -> bool:
        """Wait until everything is sent, for at most `timeout` seconds."""
        self._closing = True
        self._wake.set()
        return self._idle.wait(timeout)

    def _drop_what_overflows(self) -> None:
        while self._pending_bytes > self._options.buffer_bytes and len(self._pending) > 1:
            self._pending_bytes -= len(self._pending.popleft())
            self.dropped += 1

    def _start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="nightdesk-writer", daemon=True)
        try:
            self._thread.start()
        except RuntimeError:  # no thread is to be had, or the interpreter ends; the next event tries again
            self._thread = None

    def _run(self) -> None:
        delay = RETRY_FIRST
        while self._thread is threading.current_thread():
            self._wake.wait()
            if not self._closing:
                time.sleep(self._options.linger)
            self._wake.clear()
            try:
                self._send_all()
                delay = RETRY_FIRST
            except Exception:  # noqa: BLE001 the top of a long-running loop: mostly Redis is away
                self._forget_client()
                time.sleep(delay)
                delay = min(delay * 2, RETRY_LONGEST)
                self._wake.set()

    def _send_all(self) -> None:
        while entries := self._next_entries():
            self._send(entries)
            self._forget_sent(entries)
        with self._lock:
            if not self._pending:
                self._idle.set()

    def _next_entries(self) -> list[tuple[int, list[str]]]:
        """The oldest pending events, cut into entries of (first sequence number, events)."""
        with self._lock:
            first_seq = self._last_seq - len(self._pending) + 1
            waiting = [
                self._pending[i] for i in range(min(len(self._pending), ENTRY_EVENTS * PIPELINE_ENTRIES))
            ]
        return cut_into_entries(first_seq, waiting)

    def _send(self, entries: Sequence[tuple[int, list[str]]]) -> None:
        sent = self._clock()
        with self._connected().pipeline(transaction=False) as pipe:
            for first_seq, events in entries:
                fields = entry.encode(self.producer, first_seq, events, sent, self.offset)
                pipe.xadd(self._options.stream, fields, maxlen=self._options.stream_cap, approximate=True)  # type: ignore[arg-type]
            replies = pipe.execute()
        self._learn_offset(entry.stream_time(_text(replies[0])) - sent)

    def _learn_offset(self, sample: float) -> None:
        """Delay only ever makes a sample larger, so the smallest of the last ones is the best."""
        self._offsets.append(sample)
        self.offset = min(self._offsets)

    def _forget_sent(self, entries: Sequence[tuple[int, list[str]]]) -> None:
        """Take what was sent off the buffer, less what overflowed meanwhile."""
        last_sent = entries[-1][0] + len(entries[-1][1]) - 1
        with self._lock:
            while self._pending and self._last_seq - len(self._pending) + 1 <= last_sent:
                self._pending_bytes -= len(self._pending.popleft())

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


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
