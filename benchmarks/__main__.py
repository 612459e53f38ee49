"""`make bench`: figures taken on this machine, in one run."""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"

import django

django.setup()

from django.conf import global_settings, settings
from django.core.management import call_command
from django.db import connection

from benchmarks import ingest, live
from benchmarks.report import Row, show
from tests.harness import Installation, RedisServer


@contextmanager
def fresh_database() -> Iterator[Path]:
    """An empty record in a file of its own."""
    with tempfile.TemporaryDirectory(prefix="nd-bench-") as folder:
        connection.close()
        path = Path(folder) / "bench.sqlite3"
        connection.settings_dict["NAME"] = str(path)
        call_command("migrate", verbosity=0)
        yield path
        connection.close()


def run_live(jobs: int) -> list[Row]:
    settings.PASSWORD_HASHERS = global_settings.PASSWORD_HASHERS  # those of the web process
    with fresh_database() as path:
        redis = RedisServer(settings.DATA_DIR)
        redis.start()
        installation = Installation(settings.DATA_DIR, path, redis)
        try:
            return live.measure(installation, jobs)
        finally:
            installation.stop()
            redis.stop()


def run_ingest(jobs: int) -> list[Row]:
    with fresh_database():
        return ingest.measure(jobs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=["ingest", "live"])
    parser.add_argument("--jobs", type=int, default=100_000, help="jobs of the ingest benchmark")
    parser.add_argument("--live-jobs", type=int, default=200)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows: list[Row] = []
    if options.only != "live":
        rows += run_ingest(options.jobs)
    if options.only != "ingest":
        rows += run_live(options.live_jobs)
    show(rows, options.json)


if __name__ == "__main__":
    main()
