"""What the recorder adds to a publish, and to an event of a worker, while its own Redis is frozen.

The broker is another Redis, and works all the time. The stream's is stopped
by SIGSTOP, as a machine that swaps or a network that swallows would stop it.
A publish is a real one, of which the recorder's two hooks are timed; an event
goes through the dispatcher as a worker has it, which hands it to the recorder
alone.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import redis
from celery import Celery

import nightdesk
from benchmarks.places import own_folder, redis_at_a_port
from benchmarks.report import Row, percentile
from nightdesk import Options
from nightdesk.recorder import Recorder

PACE = 0.005
EVENTS_A_JOB = ("task-received", "task-started", "task-succeeded")
GOAL = "<= 20"


def measure(seconds: float = 30.0) -> list[Row]:
    """Rows: p99 and the longest delay in milliseconds, of publishes and of a worker's events."""
    with ExitStack() as stack:
        broker, stream = (_server(stack) for _ in range(2))
        app = Celery("bench", broker=broker)
        nightdesk.uninstall()  # that of the app which Django has loaded
        recorder = TimedRecorder(app, Options(url=stream, spool=str(own_folder(stack))))
        recorder.connect()
        stack.callback(recorder.disconnect)
        events = _Events(app)
        app.send_task("bench.nothing", ("warm",))
        with _frozen(stream):
            _work(app, events, time.monotonic() + seconds)
    return [*_rows("a publish", recorder.publishes), *_rows("an event of a worker", events.taken)]


class TimedRecorder(Recorder):
    """Notes how long its hooks hold up a publish, in seconds."""

    def __init__(self, app: Celery, options: Options) -> None:
        super().__init__(app, options)
        self.publishes: list[float] = []
        self._stamping = 0.0

    def stamp(self, *args: Any, **fields: Any) -> None:
        self._stamping = _seconds(lambda: super(TimedRecorder, self).stamp(*args, **fields))

    def record_sent(self, *args: Any, **fields: Any) -> None:
        took = _seconds(lambda: super(TimedRecorder, self).record_sent(*args, **fields))
        self.publishes.append(self._stamping + took)


class _Events:
    """The dispatcher of a worker, which notes how long each event holds it up."""

    def __init__(self, app: Celery) -> None:
        self._dispatcher = app.events.Dispatcher(
            app.connection_for_write(), hostname="bench@host", enabled=True, buffer_group=["task"]
        )
        self.taken: list[float] = []

    def send(self, uuid: str) -> None:
        for kind in EVENTS_A_JOB:
            self.taken.append(_seconds(partial(self._dispatcher.send, kind, uuid=uuid, result="1")))


def _seconds(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def _work(app: Celery, events: _Events, until: float) -> None:
    while time.monotonic() < until:
        events.send(app.send_task("bench.nothing", ("x" * 100,), {"currency": "EUR"}).id)
        time.sleep(PACE)


def _server(stack: ExitStack) -> str:
    """The address of a Redis of its own."""
    port = redis_at_a_port(stack, own_folder(stack), appendonly="no")
    return f"redis://127.0.0.1:{port}/0"


@contextmanager
def _frozen(url: str) -> Iterator[None]:
    """Stop the server at this address in its tracks, meanwhile."""
    with redis.Redis.from_url(url) as client:
        info: Any = client.info()
    pid = int(info["process_id"])
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def _rows(what: str, taken: list[float]) -> list[Row]:
    return [
        Row(f"added to {what}, stream's Redis frozen, p99", percentile(taken, 99) * 1000, "ms", goal=GOAL),
        Row(f"added to {what}, stream's Redis frozen, longest", max(taken) * 1000, "ms"),
    ]
