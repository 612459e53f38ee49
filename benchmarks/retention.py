"""Commits at a steady pace while a million jobs are forgotten: how much longer they take."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from statistics import median

from benchmarks.commits import Commit, Feed, Monitor
from benchmarks.databases import LABELS
from benchmarks.places import Place, place
from benchmarks.report import Row, percentile
from tests.harness import eventually

EVENTS_PER_SECOND = 2_000
BEFORE_SECONDS = 20.0
START_SECONDS = 3.0
LONGEST_SECONDS = 1_800.0
# In days: all that was fabricated but the last minutes.
KEPT = {"KEEP_SUCCEEDED": "0.01", "KEEP_ENDED": "0.01"}


def measure(vendor: str, jobs: int) -> list[Row]:
    """Rows: how long commits take before and while `jobs` jobs are forgotten, and how long that takes."""
    with place(vendor) as here:
        here.run("manage.py", "fabricate", "--jobs", str(jobs))
        before = _commits(here, lambda: time.sleep(BEFORE_SECONDS))
        began = time.monotonic()
        during = _commits(here, lambda: _until_forgotten(here, jobs), **KEPT)
        seconds = time.monotonic() - began
    name, usual = LABELS[vendor], median(commit.took for commit in before)
    return [
        *_rows(f"a commit, {name}, nothing to forget", before),
        *_rows(f"a commit, {name}, while jobs are forgotten", during),
        Row(
            f"most that a commit was delayed, {name}",
            (max(commit.took for commit in during) - usual) * 1000,
            "ms",
            goal="<= 100",
        ),
        Row(
            f"the same, {name}, less what it waited for a processor",
            (max(commit.took - commit.starved for commit in during) - usual) * 1000,
            "ms",
        ),
        Row(f"to forget {jobs:,} jobs, {name}", seconds, "s"),
    ]


def _commits(here: Place, wait: Callable[[], None], **settings: str) -> list[Commit]:
    """The commits of a monitor under a steady stream until `wait` returns, less those of its start."""
    with ExitStack() as stack:
        feed = Feed(here, EVENTS_PER_SECOND, LONGEST_SECONDS)
        stack.callback(feed.process.stop)
        monitor = Monitor(here, **settings)
        stack.callback(monitor.process.stop)
        eventually(monitor.commits, 30, monitor.process.text)
        began = time.time()
        wait()
        return [commit for commit in monitor.commits() if commit.done_at > began + START_SECONDS]


def _until_forgotten(here: Place, jobs: int) -> None:
    def forgotten() -> bool:
        return here.number("SELECT MIN(id) FROM nightdesk_jobs_job WHERE ended_at IS NOT NULL") > 0.99 * jobs

    eventually(forgotten, LONGEST_SECONDS, every=1.0)


def _rows(what: str, commits: list[Commit]) -> list[Row]:
    took = [commit.took * 1000 for commit in commits]
    return [
        Row(f"{what}, p50", median(took), "ms"),
        Row(f"{what}, p99", percentile(took, 99), "ms"),
        Row(f"{what}, most", max(took), "ms"),
    ]
