"""One trace for all contenders: four events a job, in flushes of at most 24 events.

Half of the jobs are published LEAD jobs before they start, so that their publish
and their life are two commits of the monitor apart; the other half is published
and run in one breath. 40 tasks over 3 queues, 500 jobs a second by the trace's
own clock, one job in 300 fails.
"""

from __future__ import annotations

import base64
import hashlib
import uuid
from collections.abc import Iterator
from itertools import islice
from typing import Any

import orjson
import redis

from nightdesk import entry

TASKS, QUEUES, WORKERS = 40, 3, 8
FLUSH_EVENTS = 24
LEAD = 6_000
RATE = 500
START = 1_790_000_000.0
EVENTS_A_JOB = 4
PIPELINE = 500
EMBED = '{"callbacks": null, "errbacks": null, "chain": null, "chord": null}'
# What the recorder adds to Celery's own events; the others are not made to read it.
OURS = ("origin", "release", "body", "published", "first_published", "priority", "delivery")
# What the recorder leaves out of a receipt: the publish has told it.
TOLD_BEFORE = ("args", "kwargs")

Event = dict[str, Any]


def fill_stream(client: redis.Redis, stream: str, jobs: int) -> str:
    """The trace as the recorder writes it, an entry of the stream for each flush; the id of the last."""
    pipeline = client.pipeline(transaction=False)
    first = 1
    for number, flush in enumerate(flushes(jobs)):
        fields = entry.encode("bench", first, [_recorded(event) for event in flush], START, 0.0)
        stream_id = f"{int(START * 1000) + number}-0"
        pipeline.xadd(stream, fields, id=stream_id)  # type: ignore[arg-type]
        first += len(flush)
        if number % PIPELINE == PIPELINE - 1:
            pipeline.execute()
    pipeline.execute()
    return stream_id


def publish_celery_events(client: redis.Redis, channel: str, jobs: int) -> None:
    """The same events as stock Celery publishes them: a message of kombu's for each flush.

    Stock Celery sends each task-sent by itself; in flushes they are cheaper to read.
    """
    pipeline = client.pipeline(transaction=False)
    for number, flush in enumerate(flushes(jobs)):
        pipeline.publish(channel, _message([_stock(event) for event in flush]))
        if number % PIPELINE == PIPELINE - 1:
            pipeline.execute()
    pipeline.execute()


def flushes(jobs: int, lead: int = LEAD) -> Iterator[list[Event]]:
    """All events in order, FLUSH_EVENTS at a time."""
    events = events_of(jobs, lead)
    while flush := list(islice(events, FLUSH_EVENTS)):
        yield flush


def events_of(jobs: int, lead: int = LEAD) -> Iterator[Event]:
    """All events in the order in which they are flushed: half of the publishes `lead` jobs ahead."""
    lead -= lead % 2
    for n in range(0, min(lead, jobs), 2):
        yield publish(n)
    for n in range(jobs):
        if n % 2 == 0 and n + lead < jobs:
            yield publish(n + lead)
        if n % 2:
            yield publish(n)
        yield from life(n)


def publish(n: int) -> Event:
    """The publish of job `n`."""
    return {
        **_base("task-sent", n, 0.0),
        **_carried(n),
        "hostname": "gen1@web",
        "origin": "gen1@web",
        "release": "9f3c1e2",
        "body": f'[[{n}], {{"currency": "EUR"}}, {EMBED}]',
    }


def life(n: int) -> list[Event]:
    """Receipt, start and end of job `n`."""
    stamp = {"retries": 0, "delivery": int((START + n / RATE) * 1e6)}
    received = {**_base("task-received", n, 0.1), **_carried(n), **stamp}
    started = {**_base("task-started", n, 0.11), **stamp}
    return [received, started, {**_end(n), **stamp}]


def task_id(n: int) -> str:
    """As random as Celery's, and the same in every run: each lands anywhere in its index."""
    return str(uuid.UUID(bytes=hashlib.md5(b"%d" % n).digest()))


def _end(n: int) -> Event:
    if n % 300:
        return {**_base("task-succeeded", n, 0.2), "result": "'ok'", "runtime": 0.09}
    fault = {"exception": "KeyError('currency')", "traceback": "T" * 800}
    return {**_base("task-failed", n, 0.2), **fault}


def _base(kind: str, n: int, after: float) -> Event:
    return {
        "type": kind,
        "uuid": task_id(n),
        "timestamp": START + n / RATE + after,
        "hostname": f"default-{n % WORKERS}@ams-1",
        "pid": 4102,
        "utcoffset": 0,
        "clock": n,
    }


def _carried(n: int) -> Event:
    return {
        "name": f"shop.tasks.task_{n % TASKS}",
        "queue": f"q{n % QUEUES}",
        "priority": 5,
        "published": START + n / RATE,
        "first_published": START + n / RATE,
        "root_id": task_id(n),
        "parent_id": None,
        "retries": 0,
        "eta": None,
        "expires": None,
        "args": f"[{n}]",
        "kwargs": '{"currency": "EUR"}',
    }


def _recorded(event: Event) -> str:
    """The event as JSON, as the recorder writes it."""
    received = event["type"] == "task-received"
    kept = {name: value for name, value in event.items() if not (received and name in TOLD_BEFORE)}
    return orjson.dumps(kept).decode()


def _stock(event: Event) -> Event:
    """The event as Celery without a recorder makes it."""
    return {name: value for name, value in event.items() if name not in OURS}


def _message(events: list[Event]) -> bytes:
    """A kombu message to celeryev, with a flush as its body."""
    return orjson.dumps(
        {
            "body": base64.b64encode(orjson.dumps(events)).decode(),
            "content-type": "application/json",
            "content-encoding": "utf-8",
            "headers": {"hostname": events[0]["hostname"]},
            "properties": {
                "delivery_mode": 1,
                "delivery_info": {"exchange": "celeryev", "routing_key": "task.multi"},
                "priority": 0,
                "body_encoding": "base64",
                "delivery_tag": events[0]["uuid"],
            },
        }
    )
