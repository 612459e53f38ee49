"""Drain events with Flower: run by the Python of .venv-bench, which has Flower and not the product.

What is timed is Flower itself: its receiving thread (redis, kombu, Celery's
EventReceiver) and its loop, which keeps each event in memory. Its web server
and its periodic calls to the workers are left out. `direct` feeds its state from
the receiver in one thread: quicker than Flower is, and kind to its design.

usage: drain_flower.py REDIS_URL EVENTS thread|direct
It is stopped (SIGSTOP) once it is subscribed, until all events are published; then it says in JSON
when it had the last one (`at`, monotonic seconds), its CPU seconds and the most memory it had.
"""

from __future__ import annotations

import json
import resource
import sys
import time

from celery import Celery
from celery.events import EventReceiver
from flower.events import Events, EventsState
from flower.options import options
from tornado.ioloop import IOLoop, PeriodicCallback

LOOK_MS = 20


def main(url: str, events: int, how: str) -> None:
    app = Celery(broker=url)
    used = time.process_time()
    {"thread": by_thread, "direct": directly}[how](app, events)
    told = {"at": time.monotonic(), "cpu": time.process_time() - used, "peak_kb": peak_kb()}
    print(json.dumps(told), flush=True)


def by_thread(app: Celery, count: int) -> None:
    """As Flower runs: its thread receives, its loop keeps."""
    loop = IOLoop.current()
    events = Events(app, loop, enable_events=False, **limits())
    events.start()
    look = PeriodicCallback(lambda: events.state.event_count >= count and loop.stop(), LOOK_MS)
    look.start()
    loop.start()


def directly(app: Celery, count: int) -> None:
    """The same state and receiver, without a second thread."""
    state = EventsState(**limits())
    with app.connection() as connection:
        receiver = EventReceiver(connection, handlers={"*": state.event}, app=app)
        captured = receiver.itercapture(limit=None, timeout=None, wakeup=False)
        while state.event_count < count:
            next(captured)


def limits() -> dict[str, int]:
    """Flower's own defaults."""
    return {
        "max_tasks_in_memory": options.max_tasks,
        "max_workers_in_memory": options.max_workers,
    }


def peak_kb() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
