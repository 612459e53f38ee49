"""From an event to its commit, under a steady stream, with a web process and a viewer attached."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from statistics import median

from benchmarks import viewer
from benchmarks.commits import Commit, Feed, Monitor, lags, memory_mb
from benchmarks.databases import LABELS
from benchmarks.places import place
from benchmarks.report import Row, percentile
from benchmarks.trace import FLUSH_EVENTS

SETTLE_SECONDS = 5.0


@dataclass(frozen=True)
class Watched:
    """What was seen: entries fed (id, time of the events), commits, frames, the monitor's memory (MiB)."""

    entries: list[tuple[str, float]]
    commits: list[Commit]
    frames: int
    memory: float

    @property
    def rate(self) -> float:
        """Events a second that were fed; less than asked for if the machine is too slow to feed."""
        seconds = self.entries[-1][1] - self.entries[0][1]
        return len(self.entries) * FLUSH_EVENTS / seconds


def measure(vendor: str, rate: int, seconds: float) -> list[Row]:
    """Rows: the lag of events at `rate` events a second, for so long."""
    watched = watch(vendor, rate, SETTLE_SECONDS + seconds)
    settled = watched.entries[0][1] + SETTLE_SECONDS
    waits = lags([entry for entry in watched.entries if entry[1] >= settled], watched.commits)
    what = f"event to commit, {LABELS[vendor]}, {rate:,} events/s"
    return [
        Row(f"{what}, p50", median(waits), "s"),
        Row(f"{what}, p99", percentile(waits, 99), "s", goal="<= 0.5 (not done above 1)"),
        Row(f"{what}, most", max(waits), "s"),
        Row("events fed", watched.rate, "events/s"),
        Row("frames to the viewer", watched.frames / (seconds + SETTLE_SECONDS), "frames/s"),
        Row("a commit, p50", median(commit.took for commit in watched.commits) * 1000, "ms"),
        Row("monitor's memory", watched.memory, "MiB", goal="<= 200 (not done above 250)"),
    ]


def watch(vendor: str, rate: int, seconds: float) -> Watched:
    """Feed a real monitor for so long, and wait until it has read everything."""
    with ExitStack() as stack:
        here = stack.enter_context(place(vendor))
        address = here.web(stack)
        looking = viewer.Viewer(address)
        stack.callback(looking.leave)
        monitor = Monitor(here)
        stack.callback(monitor.process.stop)
        feed = Feed(here, rate, seconds)
        stack.callback(feed.process.stop)
        feed.process.wait(seconds + 60)
        entries = feed.entries()
        monitor.has_read(entries[-1][0])
        return Watched(entries, monitor.commits(), looking.frames, memory_mb(monitor.process.pid)[0])
