"""What the monitor holds in memory, however many jobs the record has."""

from __future__ import annotations

from benchmarks import trace
from benchmarks.commits import Monitor, memory_mb
from benchmarks.databases import LABELS
from benchmarks.places import Place, place
from benchmarks.report import Row
from workers.monitor.ingest import STREAM

FED_JOBS = 60_000
EMPTY, SOME = 0, 300_000


def measure(vendor: str, most: int) -> list[Row]:
    """Rows: memory after FED_JOBS jobs more, with none, some and `most` jobs stored before."""
    rows = []
    for stored in (EMPTY, SOME, most):
        with place(vendor) as here:
            if stored:
                here.run("manage.py", "fabricate", "--jobs", str(stored))
            rows += _rows(f"monitor's memory, {LABELS[vendor]}, {stored:,} jobs stored", _memory(here))
    return rows


def _memory(here: Place) -> tuple[float, float]:
    """Once everything is read that was fed, so that its caches are full."""
    with here.redis.client() as client:
        last_id = trace.fill_stream(client, STREAM, FED_JOBS)
    monitor = Monitor(here)
    try:
        monitor.has_read(last_id)
        return memory_mb(monitor.process.pid)
    finally:
        monitor.process.stop()


def _rows(what: str, memory: tuple[float, float]) -> list[Row]:
    whole, own = memory
    return [
        Row(what, whole, "MiB", goal="<= 200 (not done above 250)"),
        Row(f"{what}, without the mapped file", own, "MiB"),
    ]
