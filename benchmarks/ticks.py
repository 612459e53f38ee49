"""What a pass of Beat takes with ten thousand schedules: with nothing due, with some due, after an edit."""

from __future__ import annotations

import json

from benchmarks.databases import LABELS
from benchmarks.places import place
from benchmarks.report import Row, percentile

GOAL_MS = 50.0
WORDS = {
    "quiet": "a pass with nothing due",
    "due": "a pass that sends 10 jobs",
    "edited": "reading what was edited, in a pass",
    "first": "the first pass of all",
}


def measure(vendor: str, schedules: int) -> list[Row]:
    """Rows: milliseconds of a pass, p95, and of the first one."""
    with place(vendor) as here:
        took = json.loads(here.run("-m", "benchmarks.tick_passes", str(schedules)).splitlines()[-1])
    return [_row(vendor, schedules, name, took[name]) for name in WORDS]


def _row(vendor: str, schedules: int, name: str, seconds: list[float]) -> Row:
    goal = f"<= {GOAL_MS:g}" if name in ("quiet", "due") else ""
    what = f"{WORDS[name]}, {schedules:,} schedules, {LABELS[vendor]}, p95"
    return Row(what, percentile(seconds, 95) * 1000, "ms", goal)
