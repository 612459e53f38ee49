"""What a hostile program may write into the stream: the good events stay, and memory is bounded."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
import redis

from jobs import models
from jobs.batch import StreamEntry
from tests.harness import Installation, Process, eventually
from tests.harness.processes import ROOT, python
from tests.stream import START, entry_of, life_of, raw
from tests.test_record_events import assert_counters_equal_a_recount
from workers.monitor.ingest import STREAM

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600), pytest.mark.django_db(transaction=True)]

GIANT = 20_000_000
MOST_MEMORY_MB = 250
_numbers = itertools.count()


@pytest.fixture
def client(installation: Installation) -> redis.Redis:
    return redis.Redis.from_url(installation.redis.url)


def peak_memory(process: Process) -> float:
    """The most memory that a process has had, in MB."""
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


def read_by_a_monitor(installation: Installation, last_id: str) -> Process:
    log = f"hostile-{next(_numbers)}"
    monitor = installation.start(log, python(str(ROOT / "manage.py"), "monitor"))
    eventually(lambda: models.Position.objects.filter(last_id=last_id).exists(), 180, monitor.text, 0.1)
    assert monitor.text().count("this monitor leads") == 1
    return monitor


def add(client: redis.Redis, entry: StreamEntry) -> None:
    client.xadd(STREAM, entry[1], id=entry[0])  # type: ignore[arg-type]


DEEP = '{"type":"job-progress","uuid":"deep","timestamp":1,"meta":' + "[" * 5_000 + "]" * 5_000 + "}"
HUGE = '{"type":"task-started","uuid":"huge","timestamp":' + "9" * 5_000 + "}"
NUMBERED = {b"v": b"1", b"s": b"1", b"n": b"1", b"t": b"1", b"o": b"0"}


def giants() -> list[tuple[StreamEntry, int]]:
    """Giant entries, and how many of their events can't be recorded."""
    text = "x" * GIANT
    odd_names: dict[str, Any] = {"name": "a\x00b\udfff", "args": "\ud800" * 50_000}
    return [
        (entry_of([raw("task-received", "giant", name="t", args=text)], "p2"), 0),
        (entry_of([raw("task-failed", "giant", 1, exception=text, traceback=text)], "p3"), 0),
        (entry_of([raw("task-succeeded", f"one-{n}", result="é" * 33_000) for n in range(100)], "p4"), 0),
        (entry_of(['"' + text], "p5"), 1),
        (entry_of(["[" * GIANT], "p6"), 1),
        (entry_of([raw("job-progress", "giant", 1, state="S", meta={"n": text})], "p7"), 0),
        (entry_of([raw("task-started", text)], "p8"), 1),
        (entry_of([raw("task-received", "nul\x00\ud800", **odd_names)], "p9"), 0),
        (entry_of([HUGE], "p10"), 1),
        (entry_of([DEEP], "p11"), 1),
        (("", {**NUMBERED, b"p": b"x" * GIANT, b"e": b"[7]"}), 1),
        (("", {b"x" * GIANT: b"1"}), 1),
    ]


def test_giants_and_garbage_cost_neither_a_good_event_nor_much_memory(
    installation: Installation, client: redis.Redis
) -> None:
    refused, last_id = 0, ""
    for number, ((_, hostile), odd) in enumerate(giants()):
        good = entry_of(life_of(f"good-{number}"), f"g{number}")[1]
        last_id = f"{int(START + number) * 1000}-2"
        add(client, (f"{int(START + number) * 1000}-1", hostile))
        add(client, (last_id, good))
        refused += odd
    monitor = read_by_a_monitor(installation, last_id)
    assert models.Job.objects.filter(task_id__startswith="good", state="succeeded").count() == number + 1
    assert sum(row.count for row in models.Quarantine.objects.all()) == refused
    assert peak_memory(monitor) < MOST_MEMORY_MB, peak_memory(monitor)
    assert_counters_equal_a_recount()


def named(number: int) -> list[dict[str, Any]]:
    """The life of a job whose task, queue and worker nobody has heard of before."""
    names = {"name": f"task-{number}", "queue": f"queue-{number}", "hostname": f"w{number}@host-{number}"}
    return [
        {**event, **{key: names[key] for key in names if key in event}} for event in life_of(f"job-{number}")
    ]


def test_ten_thousand_names_hosts_and_queues_are_recorded_in_bounded_memory(
    installation: Installation, client: redis.Redis
) -> None:
    last_id = ""
    for number in range(10_000):
        beat = {"type": "worker-heartbeat", "timestamp": START, "hostname": f"w{number}@host-{number}"}
        entry = entry_of([*named(number), beat], f"p{number}", at=10 + number / 100)
        last_id = entry[0]
        add(client, entry)
    monitor = read_by_a_monitor(installation, last_id)
    assert models.Job.objects.filter(state="succeeded").count() == 10_000
    assert models.Worker.objects.count() == 10_000
    assert peak_memory(monitor) < MOST_MEMORY_MB, peak_memory(monitor)
    assert_counters_equal_a_recount()
