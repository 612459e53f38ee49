"""Events a second from the stream into the record, against Flower on the same trace.

Both read the same events from the same Redis, each in a process of its own, one
after the other, round by round: Nightdesk commits each job, attempt, payload and
bucket with every index that the pages need; Flower keeps its latest 100,000 tasks
in memory. The trace is waiting when a contender begins.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from dataclasses import dataclass
from statistics import median
from typing import Any

from benchmarks import trace
from benchmarks.databases import LABELS
from benchmarks.places import Place, place
from benchmarks.report import Row
from tests.harness import eventually
from tests.harness.processes import ROOT, clean_environment
from workers.monitor.ingest import STREAM

FLOWER_PYTHON = ROOT / ".venv-bench" / "bin" / "python"
CHANNEL = "/0.celeryev/task.multi"
LONGEST = 3_600
# By (jobs stored before, database): the goal, and what is not done below.
GOALS = {
    (False, "SQLite"): (10, 7),
    (False, "PostgreSQL"): (10, 5),
    (True, "SQLite"): (6, 4),
    (True, "PostgreSQL"): (6, 4),
}


@dataclass(frozen=True)
class Drained:
    """How long a contender took for how many events, with its CPU seconds and the most memory it had.

    `writer_cpu` is the part of the process that writes, where there is one.
    """

    events: int
    seconds: float
    cpu: float
    peak_kb: int
    writer_cpu: float = 0.0

    @property
    def rate(self) -> float:
        """Events a second."""
        return self.events / self.seconds


def drain_stream(place: Place, jobs: int, profile_to: str = "") -> Drained:
    """Nightdesk: from the stream into the database of `place`."""
    events = jobs * trace.EVENTS_A_JOB
    with place.redis.client() as client:
        client.flushall()
        trace.fill_stream(client, STREAM, jobs)
    told = json.loads(place.run("-m", "benchmarks.drain_stream", str(events), *filter(None, [profile_to])))
    return Drained(events, **told)


def drain_flower(place: Place, jobs: int, how: str = "thread") -> Drained:
    """Flower: from Celery's channel into memory; `how` is "thread" or "direct"."""
    events = jobs * trace.EVENTS_A_JOB
    program = str(ROOT / "benchmarks" / "drain_flower.py")
    url = f"redis+socket://{place.redis.socket}?virtual_host=0"
    argv = [str(FLOWER_PYTHON), program, url, str(events), how]
    flower = subprocess.Popen(argv, env=clean_environment(place.folder), stdout=subprocess.PIPE, text=True)
    try:
        began = _publish_while_it_stands_still(flower, place, jobs)
        said, _ = flower.communicate(timeout=LONGEST)
    finally:
        flower.kill()
    told: dict[str, Any] = json.loads(said)
    return Drained(events, told["at"] - began, told["cpu"], told["peak_kb"])


def _publish_while_it_stands_still(flower: subprocess.Popen[str], place: Place, jobs: int) -> float:
    """The moment at which everything was published and it may go on."""
    with place.redis.client() as client:
        eventually(lambda: client.pubsub_numpat() or flower.poll() is not None)
        assert flower.poll() is None, "Flower has ended before it began"
        os.kill(flower.pid, signal.SIGSTOP)
        trace.publish_celery_events(client, CHANNEL, jobs)
    os.kill(flower.pid, signal.SIGCONT)
    return time.monotonic()


def profile(vendor: str, jobs: int, file: str) -> list[Row]:
    """Nightdesk alone, with cProfile's figures in `file`; the profiler makes it slower."""
    with place(vendor) as here:
        drained = drain_stream(here, jobs, file)
    return [Row(f"events committed, {LABELS[vendor]}, profiled", drained.rate, "events/s")]


def measure(vendor: str, jobs: int, rounds: int, stored: int = 0) -> list[Row]:
    """Rows: events a second of each contender, and their ratio, medians over the rounds."""
    with place(vendor) as here:
        if stored:
            here.run("manage.py", "fabricate", "--jobs", str(stored))
        drained = [_round(here, jobs) for _ in range(rounds)]
    return _rows(LABELS[vendor], jobs, stored, drained)


@dataclass(frozen=True)
class Round:
    """What each contender did, and the bytes that Nightdesk's record has grown by."""

    ours: Drained
    flower: Drained
    grown: int


def _round(here: Place, jobs: int) -> Round:
    with here.copied() as copy:
        before = here.databases.size(copy.database_url)
        ours = drain_stream(copy, jobs)
        grown = here.databases.size(copy.database_url) - before
    return Round(ours, drain_flower(here, jobs), grown)


def _rows(database: str, jobs: int, stored: int, rounds: list[Round]) -> list[Row]:
    goal, least = GOALS[bool(stored), database]
    what = f"{database}, {stored:,} jobs stored, {jobs:,} more" if stored else f"{database}, {jobs:,} jobs"
    return [
        Row(f"events committed, {what}", median(r.ours.rate for r in rounds), "events/s"),
        Row("events in memory, Flower 2.2.0, same trace", median(r.flower.rate for r in rounds), "events/s"),
        Row(
            f"committed against Flower, {database}",
            median(r.ours.rate / r.flower.rate for r in rounds),
            "x",
            goal=f">= {goal} (not done below {least})",
        ),
        Row("CPU an event, monitor", median(r.ours.cpu / r.ours.events for r in rounds) * 1e6, "us"),
        Row(
            "of it in the process that writes",
            median(r.ours.writer_cpu / r.ours.events for r in rounds) * 1e6,
            "us",
        ),
        Row("CPU an event, Flower", median(r.flower.cpu / r.flower.events for r in rounds) * 1e6, "us"),
        Row("most memory, monitor's loop", max(r.ours.peak_kb for r in rounds) / 1024, "MiB"),
        Row("most memory, Flower", max(r.flower.peak_kb for r in rounds) / 1024, "MiB"),
        Row("record, bytes a job", median(r.grown for r in rounds) / jobs, "bytes"),
    ]
