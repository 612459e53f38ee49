"""Events a second from the stream into the record: four events a job, half the jobs over two batches."""

from __future__ import annotations

import time
from itertools import islice
from pathlib import Path

import orjson
from django.db import connection

from benchmarks.report import Row
from jobs.batch import StreamEntry
from jobs.record import Record
from nightdesk import entry

TASKS, QUEUES = 40, 3
ENTRY_EVENTS = 24
BATCH = 500
START = 1_790_000_000.0


def trace(jobs: int) -> list[StreamEntry]:
    """Entries of one busy worker: publishes run ahead, so that half the jobs span two batches."""
    waves = [_events(wave, min(wave + 6000, jobs)) for wave in range(0, jobs, 6000)]
    events = [event for wave in waves for event in wave]
    entries = []
    for number, first in enumerate(range(0, len(events), ENTRY_EVENTS)):
        chunk = events[first : first + ENTRY_EVENTS]
        fields = entry.encode("bench", first + 1, chunk, START, 0.0)
        stream_id = f"{int(START * 1000) + number}-0"
        entries.append((stream_id, {name.encode(): value.encode() for name, value in fields.items()}))
    return entries


def _events(first: int, last: int) -> list[str]:
    early = [_publish(n) for n in range(first, last, 2)]
    late = [event for n in range(first, last) for event in _life(n)]
    return [orjson.dumps(event).decode() for event in early + late]


def _publish(n: int) -> dict[str, object]:
    embed = '{"callbacks": null, "errbacks": null, "chain": null, "chord": null}'
    return {
        **_base("task-sent", n, 0.0),
        **_message(n),
        "origin": "gen1@web",
        "release": "9f3c1e2",
        "retries": 0,
        "args": f"[{n}]",
        "kwargs": '{"currency": "EUR"}',
        "body": f'[[{n}], {{"currency": "EUR"}}, {embed}]',
    }


def _message(n: int) -> dict[str, object]:
    return {
        "name": f"shop.tasks.task_{n % TASKS}",
        "queue": f"q{n % QUEUES}",
        "priority": 5,
        "published": START + n / 500,
        "first_published": START + n / 500,
        "root_id": f"{n:032x}",
    }


def _life(n: int) -> list[dict[str, object]]:
    stamp = {"retries": 0, "delivery": int((START + n / 500) * 1e6)}
    received = {**_base("task-received", n, 0.1), **stamp, **_message(n)}
    started = {**_base("task-started", n, 0.11), **stamp}
    if n % 300:
        end = {**_base("task-succeeded", n, 0.2), **stamp, "result": "'ok'", "runtime": 0.09}
    else:
        end = {
            **_base("task-failed", n, 0.2),
            **stamp,
            "exception": "KeyError('currency')",
            "traceback": "T" * 800,
        }
    return [received, started, end] if n % 2 == 0 else [_publish(n), received, started, end]


def _base(kind: str, n: int, after: float) -> dict[str, object]:
    return {
        "type": kind,
        "uuid": f"{n:032x}",
        "timestamp": START + n / 500 + after,
        "hostname": f"default-{n % 8}@ams-1",
        "pid": 4102,
        "utcoffset": 0,
        "clock": n,
    }


def measure(jobs: int) -> list[Row]:
    """Rows: events a second committed, for an empty record at first."""
    entries = trace(jobs)
    record = Record(f"bench-{jobs}")
    started, cpu = time.perf_counter(), time.process_time()
    iterator = iter(entries)
    while batch := list(islice(iterator, BATCH)):
        record.commit(batch)
    elapsed, used = time.perf_counter() - started, time.process_time() - cpu
    size = Path(str(connection.settings_dict["NAME"])).stat().st_size
    return [
        Row(f"ingest, SQLite, {jobs:,} jobs", 4 * jobs / elapsed, "events/s"),
        Row("ingest, CPU an event", used / (4 * jobs) * 1e6, "us"),
        Row("record, bytes a job", size / jobs, "bytes"),
    ]
