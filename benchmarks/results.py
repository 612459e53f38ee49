"""Throughput of a worker whose results go into the database, against the same worker with Redis results."""

from __future__ import annotations

import sqlite3
import statistics
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psycopg
import redis

from benchmarks.databases import LABELS, SQLITE, databases
from benchmarks.report import Row
from benchmarks.workers import FedWorker, Program, Run
from tests.harness import RedisServer, free_port
from tests.harness.processes import Process, clean_environment, python

TABLE = "django_celery_results_taskresult"
GOALS = {"sqlite": ">= 0.95", "postgresql": ">= 0.85"}
SLOTS = 4
IN_REDIS, IN_DATABASE = "Redis", "database"


def measure(vendor: str, jobs: int = 2000, pairs: int = 7) -> list[Row]:
    """Rows: jobs a second of both, and the median of their ratios, pair by pair."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="nd-b-")))
        port = str(free_port())
        server = RedisServer(folder, {"appendfsync": "everysec", "port": port})
        server.start()
        stack.callback(server.stop)
        url = stack.enter_context(databases(vendor, folder)).fresh()
        programs = [_in_redis(folder, port, url), _in_database(folder, port, url)]
        _migrate(folder, programs[0])
        workers = dict(zip((IN_REDIS, IN_DATABASE), _workers(folder, programs), strict=True))
        for worker in workers.values():
            stack.callback(worker.stop)
            worker.start(jobs)
        rounds = [{name: workers[name].run() for name in _order(number)} for number in range(pairs)]
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
    database = redis.Redis.from_url(results)
    env = {**_env(folder, broker, url), "BENCH_RESULTS": results}
    return Program("benchmarks.own_app", broker, env, database.flushdb, lambda: int(database.dbsize()))


def _in_database(folder: Path, port: str, url: str) -> Program:
    broker = f"redis://127.0.0.1:{port}/2"

    ask = _asker(url)
    return Program(
        "benchmarks.own_app",
        broker,
        _env(folder, broker, url),
        lambda: ask(f"DELETE FROM {TABLE}"),
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


def _migrate(folder: Path, program: Program) -> None:
    migrated = Process(
        python("manage.py", "migrate", "--verbosity", "0"),
        clean_environment(folder, **program.env),
        folder / "migrate.log",
    )
    assert migrated.wait(120) == 0, migrated.text()[-3000:]


def _order(number: int) -> list[str]:
    """Who runs first changes from round to round."""
    names = [IN_REDIS, IN_DATABASE]
    return names if number % 2 else names[::-1]


def _rows(vendor: str, rounds: list[dict[str, Run]]) -> list[Row]:
    label = LABELS[vendor]
    ratio = statistics.median(one[IN_REDIS].time / one[IN_DATABASE].time for one in rounds)
    speeds = {name: statistics.median(1 / one[name].time for one in rounds) for name in rounds[0]}
    return [
        Row(f"results in Redis, beside {label}", speeds[IN_REDIS], "jobs/s"),
        Row(f"results in {label}", speeds[IN_DATABASE], "jobs/s"),
        Row(f"results, {label} / Redis", ratio, "x", goal=GOALS[vendor]),
    ]
