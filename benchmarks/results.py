"""Throughput of a worker whose results go into the database, against the same worker with Redis results."""

from __future__ import annotations

import sqlite3
import statistics
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psycopg
import redis

from benchmarks.databases import LABELS, POSTGRESQL, SQLITE, databases
from benchmarks.places import own_folder, redis_at_a_port
from benchmarks.report import Row
from benchmarks.workers import FedWorker, Program, Run, run_in_turns
from tests.harness.processes import Process, clean_environment, python

TABLE = "django_celery_results_taskresult"
# The same messages come again and again: what was run once would not be run twice.
CLAIMS = "nightdesk_workers_claim"
GOALS = {"sqlite": ">= 0.95", "postgresql": ">= 0.85"}
SLOTS = 4
IN_REDIS = "Redis"
# Ways to keep results in a database: what a way is called, and its DURABLE_RESULTS. SQLite has but one.
WAYS = {
    SQLITE: {"": "1"},
    POSTGRESQL: {", waiting for the disk": "1", ", DURABLE_RESULTS=0": "0"},
}


def measure(vendor: str, jobs: int = 2000, pairs: int = 7) -> list[Row]:
    """Rows: jobs a second of each, and the median of each ratio to Redis, round by round."""
    with ExitStack() as stack:
        folder = own_folder(stack)
        port = redis_at_a_port(stack, folder, appendfsync="everysec")
        url = stack.enter_context(databases(vendor, folder)).fresh()
        programs = {IN_REDIS: _in_redis(folder, port, url)}
        for number, (way, durable) in enumerate(WAYS[vendor].items(), 2):
            programs[way] = in_database(folder, f"redis://127.0.0.1:{port}/{number}", url, durable)
        migrate(folder, programs[IN_REDIS])
        workers = dict(zip(programs, _workers(folder, list(programs.values())), strict=True))
        rounds = run_in_turns(stack, workers, jobs, pairs)
    return _rows(vendor, rounds)


def _workers(folder: Path, programs: list[Program]) -> list[FedWorker]:
    return [FedWorker(f"bench-{n}", folder, program, SLOTS) for n, program in enumerate(programs)]


def _env(folder: Path, broker: str, url: str) -> dict[str, str]:
    return {
        "DATA_DIR": str(folder),
        "DATABASE_URL": url,
        "REDIS_URL": broker,
        "SECRET_KEY": "a secret for benchmarks alone, long enough to please",
        "LOG_LEVEL": "WARNING",
    }


def _in_redis(folder: Path, port: str, url: str) -> Program:
    broker, results = f"redis://127.0.0.1:{port}/0", f"redis://127.0.0.1:{port}/1"
    database, ask = redis.Redis.from_url(results), _asker(url)
    env = {**_env(folder, broker, url), "BENCH_RESULTS": results}

    def forget() -> None:
        database.flushdb()
        ask(f"DELETE FROM {CLAIMS}")

    return Program("benchmarks.own_app", broker, env, forget, lambda: int(database.dbsize()))


def in_database(folder: Path, broker: str, url: str, durable: str) -> Program:
    """Nightdesk's own app, as it is."""
    ask = _asker(url)

    def forget() -> None:
        ask(f"DELETE FROM {TABLE}")
        ask(f"DELETE FROM {CLAIMS}")

    return Program(
        "benchmarks.own_app",
        broker,
        {**_env(folder, broker, url), "DURABLE_RESULTS": durable},
        forget,
        lambda: ask(f"SELECT count(*) FROM {TABLE}"),
    )


def _asker(url: str) -> Callable[[str], int]:
    """Runs a statement in a database; the first value of its answer, 0 if it has none."""
    if url.startswith(SQLITE):
        path = url.removeprefix("sqlite:///")
        connection: Any = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    else:
        connection = psycopg.connect(url, autocommit=True)

    def ask(statement: str) -> int:
        cursor = connection.execute(statement)
        row = cursor.fetchone() if cursor.description else None
        return int(row[0]) if row else 0

    return ask


def migrate(folder: Path, program: Program) -> None:
    """Make the tables of a program's database."""
    migrated = Process(
        python("manage.py", "migrate", "--verbosity", "0"),
        clean_environment(folder, **program.env),
        folder / "migrate.log",
    )
    assert migrated.wait(120) == 0, migrated.text()[-3000:]


def _rows(vendor: str, rounds: list[dict[str, Run]]) -> list[Row]:
    label = LABELS[vendor]
    speeds = {name: statistics.median(1 / one[name].time for one in rounds) for name in rounds[0]}
    ratios = {
        way: statistics.median(one[IN_REDIS].time / one[way].time for one in rounds) for way in WAYS[vendor]
    }
    return [
        Row(f"results in Redis, beside {label}", speeds[IN_REDIS], "jobs/s"),
        *(Row(f"results in {label}{way}", speeds[way], "jobs/s") for way in ratios),
        *(
            Row(f"results, {label} / Redis{way}", ratio, "x", goal=GOALS[vendor])
            for way, ratio in ratios.items()
        ),
    ]
