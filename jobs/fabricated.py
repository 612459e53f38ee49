"""Jobs that never were, as the recorder would tell of them: pure, and the same for the same seed."""

from __future__ import annotations

import math
import random
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import product
from typing import Any

import orjson

from jobs.batch import StreamEntry
from nightdesk import entry

Event = dict[str, Any]

ENTRY_EVENTS = 24
QUEUES = ("high", "default", "low")
LONGEST_RUN = 60.0
RETRIED = 0.02
RETRY_DELAYS = (2.0, 5.0, 15.0)
STOPPED = 0.002
RELEASE = "9f3c1e2"
EMBED = '{"callbacks": null, "errbacks": null, "chain": null, "chord": null}'
FAULTS = ("KeyError('currency')", "TimeoutError('partner')", "HTTPStatusError('502 Bad Gateway')")


@dataclass(frozen=True)
class Kind:
    """A task: its queue, its usual run in seconds, and what share of its jobs fails."""

    task: str
    queue: str
    run: float
    faulty: float


def _kinds() -> list[Kind]:
    die = random.Random(1)  # noqa: S311 no secret
    nouns = ("orders", "payments", "invoices", "products", "reports", "mails", "stock", "customers")
    verbs = ("sync", "confirm", "render", "export", "expire")
    return [
        Kind(
            task=f"shop.{noun}.{verb}",
            queue=die.choice(QUEUES),
            run=die.choice((0.02, 0.1, 0.4, 2.0)),
            faulty=die.choice((0.0, 0.005, 0.02)),
        )
        for noun, verb in product(nouns, verbs)
    ]


KINDS = _kinds()


@dataclass(frozen=True)
class Attempt:
    """One execution to be: seconds until it starts and that it runs, and the kind of event that ends it."""

    delay: float
    wait: float
    run: float
    end: str

    @property
    def lasts(self) -> float:
        return self.delay + self.wait + self.run


def events(count: int, start: float, end: float, die: random.Random, *, cut: bool) -> list[Event]:
    """The events of `count` jobs published from `start` to `end` (epoch seconds), in the order of time.

    With `cut`, what would happen after `end` has not happened yet, and such a
    job is open. Without, every job ends before `end`.
    """
    told: list[Event] = []
    for _ in range(count):
        kind = die.choice(KINDS)
        attempts = _attempts(kind, die)
        room = 0.0 if cut else sum(attempt.lasts for attempt in attempts) + 0.001
        began = round(die.uniform(start, max(start, end - room)), 6)
        task_id = str(uuid.UUID(int=die.getrandbits(128), version=4))
        told += [event for event in _life(task_id, kind, began, attempts) if event["timestamp"] <= end]
    return sorted(told, key=lambda event: float(event["timestamp"]))


def _attempts(kind: Kind, die: random.Random) -> list[Attempt]:
    retries = die.choice((1, 2, 3)) if die.random() < RETRIED else 0
    return [
        Attempt(
            delay=RETRY_DELAYS[number - 1] if number else 0.0,
            wait=min(10.0, die.expovariate(2.0)) + 0.001,
            run=min(LONGEST_RUN, kind.run * math.exp(die.gauss(0, 0.6))),
            end="task-retried" if number < retries else _outcome(kind, die),
        )
        for number in range(retries + 1)
    ]


def _outcome(kind: Kind, die: random.Random) -> str:
    roll = die.random()
    if roll < STOPPED:
        return die.choice(("task-revoked", "task-rejected"))
    return "task-failed" if roll < STOPPED + kind.faulty else "task-succeeded"


def _life(task_id: str, kind: Kind, began: float, attempts: Sequence[Attempt]) -> Iterator[Event]:
    at = began
    for retries, attempt in enumerate(attempts):
        published = at
        ready = published + attempt.delay
        carried = {
            "name": kind.task,
            "queue": kind.queue,
            "priority": 5,
            "published": published,
            "first_published": began,
            "eta": datetime.fromtimestamp(ready, UTC).isoformat() if attempt.delay else None,
            "root_id": task_id,
            "retries": retries,
        }
        yield {**_base("task-sent", task_id, published), **carried, **_payload(began)}
        received, at = round(ready + attempt.wait / 2, 6), round(ready + attempt.wait, 6)
        stamp = {"retries": retries, "delivery": int(received * 1_000_000), "hostname": _worker(kind, began)}
        yield {**_base("task-received", task_id, received), **carried, **stamp}
        yield {**_base("task-started", task_id, at), **stamp}
        at = round(at + attempt.run, 6)
        yield {**_base(attempt.end, task_id, at), **stamp, **_told_by_end(kind, attempt, began)}


def _base(kind: str, task_id: str, at: float) -> Event:
    return {"type": kind, "uuid": task_id, "timestamp": at, "hostname": "gen7@web-1", "pid": 4102}


def _payload(began: float) -> Event:
    order = int(began) % 900_000
    args, kwargs = f"[{order}]", '{"currency": "EUR"}'
    return {
        "args": args,
        "kwargs": kwargs,
        "body": f"[{args}, {kwargs}, {EMBED}]",
        "origin": "web, POST /orders",
        "release": RELEASE,
    }


def _worker(kind: Kind, began: float) -> str:
    return f"{kind.queue}@ams-{1 + int(began) % 2}"


def _told_by_end(kind: Kind, attempt: Attempt, began: float) -> Event:
    if attempt.end == "task-succeeded":
        return {"result": "'ok'", "runtime": attempt.run}
    if attempt.end in ("task-failed", "task-retried"):
        exception = FAULTS[int(began) % len(FAULTS)]
        module, verb = kind.task.split(".")[1:]
        where = f'  File "/srv/shop/{module}.py", line 41, in {verb}\n    partner.ask(order)\n'
        return {
            "exception": exception,
            "traceback": f"Traceback (most recent call last):\n{where}{exception}\n",
        }
    return {}


def heartbeats(now: float) -> Iterator[tuple[str, Event]]:
    """A sign of life of each worker, with the id of its producer."""
    for queue, host in product(QUEUES, (1, 2)):
        facts = {"active": 2, "processed": 184_000, "slots": 8, "queues": [queue], "freq": 2.0}
        known = {"hostname": f"{queue}@ams-{host}", "pid": 4100 + host, "sw_ver": "5.7.0", "release": RELEASE}
        beat = {"type": "worker-heartbeat", "timestamp": now, "loadavg": [0.8, 0.7, 0.6]}
        yield f"fabricated-{queue}-{host}", {**beat, **facts, **known}


class Stream:
    """Entries for the record, numbered on and on, of one producer that tells of all jobs."""

    def __init__(self, producer: str) -> None:
        self._producer = producer
        self._next_seq = 1
        self._entries = 0

    def entries(self, told: Sequence[Event]) -> Iterator[StreamEntry]:
        """The events, ENTRY_EVENTS to an entry."""
        for first in range(0, len(told), ENTRY_EVENTS):
            chunk = told[first : first + ENTRY_EVENTS]
            yield self._entry(self._producer, self._next_seq, chunk)
            self._next_seq += len(chunk)

    def of_workers(self, now: float) -> Iterator[StreamEntry]:
        for producer, event in heartbeats(now):
            yield self._entry(producer, 1, [event])

    def _entry(self, producer: str, first_seq: int, chunk: Sequence[Event]) -> StreamEntry:
        self._entries += 1
        at = chunk[-1]["timestamp"]
        fields = entry.encode(producer, first_seq, [orjson.dumps(event).decode() for event in chunk], at, 0.0)
        stream_id = f"{int(at * 1000)}-{self._entries}"
        return stream_id, {name.encode(): value.encode() for name, value in fields.items()}
