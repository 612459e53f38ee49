"""What a claim costs a job: the same worker with and without, turn by turn."""

from __future__ import annotations

import statistics
from contextlib import ExitStack
from dataclasses import replace

from benchmarks.databases import LABELS, databases
from benchmarks.places import own_folder, redis_at_a_port
from benchmarks.report import Row
from benchmarks.results import SLOTS, in_database, migrate
from benchmarks.workers import FedWorker, Run, run_in_turns

WITH, WITHOUT = "with", "without"


def measure(vendor: str, jobs: int = 1500, pairs: int = 7) -> list[Row]:
    """Rows: jobs a second with and without claims, and what a claim adds, median of the rounds."""
    with ExitStack() as stack:
        folder = own_folder(stack)
        port = redis_at_a_port(stack, folder, appendfsync="everysec")
        url = stack.enter_context(databases(vendor, folder)).fresh()
        plain = in_database(folder, f"redis://127.0.0.1:{port}/1", url, "1")
        spared = in_database(folder, f"redis://127.0.0.1:{port}/2", url, "1")
        spared = replace(spared, env={**spared.env, "BENCH_IDEMPOTENT": "1"})
        migrate(folder, plain)
        workers = {
            WITH: FedWorker("bench-with", folder, plain, SLOTS),
            WITHOUT: FedWorker("bench-without", folder, spared, SLOTS),
        }
        rounds = run_in_turns(stack, workers, jobs, pairs)
    return _rows(vendor, rounds)


def _rows(vendor: str, rounds: list[dict[str, Run]]) -> list[Row]:
    label = LABELS[vendor]
    speeds = {name: statistics.median(1 / one[name].time for one in rounds) for name in rounds[0]}
    cpu = statistics.median(one[WITH].cpu - one[WITHOUT].cpu for one in rounds)
    ratio = statistics.median(one[WITHOUT].time / one[WITH].time for one in rounds)
    return [
        *(Row(f"jobs {name} a claim, {label}", speeds[name], "jobs/s") for name in speeds),
        Row(f"a claim adds, {label}", cpu * 1e6, "us of CPU"),
        Row(f"with / without a claim, {label}", ratio, "x"),
    ]
