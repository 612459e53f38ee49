"""What the recorder costs a worker: CPU a job, against plain Celery with events on (`worker -E`)."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

import redis

from benchmarks.places import own_folder, redis_at_a_port
from benchmarks.report import Row
from benchmarks.workers import FedWorker, Program, Run, run_in_turns

PLAIN = "plain -E"
SLOTS = 2
# What each says in its environment; the recorder's Redis is that of the broker.
VARIANTS: Mapping[str, Mapping[str, str]] = {
    PLAIN: {},
    "recorder": {"BENCH_STREAM": "{stream}"},
    "recorder with spool": {"BENCH_STREAM": "{stream}", "BENCH_SPOOL": "{spool}"},
    "recorder beside Celery's events": {"BENCH_STREAM": "{stream}", "BENCH_CELERY_EVENTS": "1"},
}


def measure(jobs: int = 3000, pairs: int = 9) -> list[Row]:
    """Rows: median CPU a job of each variant, and its ratio to plain Celery, pair by pair."""
    with ExitStack() as stack:
        folder = own_folder(stack)
        port = redis_at_a_port(stack, folder, appendonly="no")
        workers = {
            name: FedWorker(f"bench-{number}", folder, _program(folder, port, number, env), SLOTS)
            for number, (name, env) in enumerate(VARIANTS.items())
        }
        rounds = run_in_turns(stack, workers, jobs, pairs)
    return _rows(rounds)


def _program(folder: Path, port: str, number: int, env: Mapping[str, str]) -> Program:
    broker, results, stream = (f"redis://127.0.0.1:{port}/{n}" for n in (2 * number, 2 * number + 1, 15))
    said = {name: value.format(stream=stream, spool=folder / "spool") for name, value in env.items()}
    database = redis.Redis.from_url(results)
    return Program(
        module="benchmarks.plain_app",
        broker=broker,
        env={"BENCH_BROKER": broker, "BENCH_RESULTS": results, **said},
        forget=database.flushdb,
        results=lambda: int(database.dbsize()),
    )


def _rows(rounds: list[dict[str, Run]]) -> list[Row]:
    rows = []
    for name in VARIANTS:
        cpu = statistics.median(one[name].cpu for one in rounds)
        rows.append(Row(f"CPU a job, {name}", cpu * 1e6, "us"))
    for name in list(VARIANTS)[1:]:
        ratio = statistics.median(one[name].cpu / one[PLAIN].cpu for one in rounds)
        rows.append(Row(f"CPU, {name} / {PLAIN}", ratio, "x", goal="<= 1.0"))
        speed = statistics.median(one[PLAIN].time / one[name].time for one in rounds)
        rows.append(Row(f"jobs/s, {name} / {PLAIN}", speed, "x"))
    return rows
