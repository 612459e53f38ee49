"""`make bench`: figures taken on this machine, in one run, as a table and as JSON."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path

os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"

import django

django.setup()

from benchmarks import (
    actions,
    alerts,
    claims,
    enqueue,
    ingest,
    lag,
    live,
    memory,
    pages,
    publish,
    recorder,
    results,
    retention,
    scrapes,
    sockets,
    ticks,
    weight,
)
from benchmarks.databases import POSTGRESQL, SQLITE
from benchmarks.report import Row, show

Options = argparse.Namespace
Measure = Callable[[Options], list[Row]]


def on_each(measure: Callable[[str, Options], list[Row]]) -> Measure:
    """The rows of each database that was asked for."""
    return lambda options: [row for vendor in options.databases for row in measure(vendor, options)]


def _ingest(vendor: str, options: Options) -> list[Row]:
    if options.profile:
        return ingest.profile(vendor, options.jobs, options.profile)
    return ingest.measure(vendor, options.jobs, options.rounds)


# What is measured, in the order in which it is shown.
MEASURES: dict[str, Measure] = {
    "ingest": on_each(_ingest),
    "stored": lambda options: ingest.measure(SQLITE, options.jobs, options.rounds, options.stored),
    "memory": on_each(lambda vendor, options: memory.measure(vendor, options.stored)),
    "lag": on_each(lambda vendor, options: lag.measure(vendor, options.rate, options.seconds)),
    "actions": on_each(
        lambda vendor, options: actions.measure(vendor, options.jobs, options.rounds, options.rate)
    ),
    "retention": on_each(lambda vendor, options: retention.measure(vendor, options.forgotten)),
    "pages": on_each(lambda vendor, options: pages.measure(vendor, options.stored)),
    "scrape": on_each(lambda vendor, options: scrapes.measure(vendor)),
    "recorder": lambda options: recorder.measure(),
    "results": on_each(lambda vendor, options: results.measure(vendor)),
    "claims": on_each(lambda vendor, options: claims.measure(vendor)),
    "enqueue": on_each(lambda vendor, options: enqueue.measure(vendor)),
    "ticks": on_each(lambda vendor, options: ticks.measure(vendor, options.schedules)),
    "alerts": on_each(lambda vendor, options: alerts.measure(vendor)),
    "publish": lambda options: publish.measure(),
    "sockets": lambda options: sockets.measure(options.sockets, options.watched),
    "weight": lambda options: weight.measure(),
    "live": lambda options: live.run(options.live_jobs),
}


def main() -> None:
    options = _parser().parse_args()
    rows: list[Row] = []
    for name, measure in MEASURES.items():
        if options.only in (None, name):
            rows += measure(options)
    show(rows, options.json)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", choices=list(MEASURES))
    parser.add_argument("--json", type=Path)
    parser.add_argument("--databases", nargs="+", choices=[SQLITE, POSTGRESQL], default=[SQLITE, POSTGRESQL])
    parser.add_argument("--jobs", type=int, default=300_000, help="ingest, stored, actions: of the trace")
    parser.add_argument("--rounds", type=int, default=3, help="ingest, stored, actions: rounds")
    parser.add_argument("--stored", type=int, default=5_000_000, help="stored, memory, pages: jobs before")
    parser.add_argument("--profile", help="ingest: a file for cProfile's figures, Nightdesk alone")
    parser.add_argument("--rate", type=int, default=5_000, help="lag: events a second")
    parser.add_argument("--seconds", type=float, default=120.0, help="lag: for so long")
    parser.add_argument("--forgotten", type=int, default=1_000_000, help="retention: jobs to forget")
    parser.add_argument("--schedules", type=int, default=10_000, help="ticks: schedules")
    parser.add_argument("--sockets", type=int, default=1_000, help="sockets: viewers")
    parser.add_argument("--watched", type=float, default=60.0, help="sockets: seconds")
    parser.add_argument("--live-jobs", type=int, default=200)
    return parser


if __name__ == "__main__":
    main()
