"""A real monitor under a steady stream, and what is known of each of its commits."""

from __future__ import annotations

import os
from bisect import bisect_left
from dataclasses import dataclass
from pathlib import Path

from benchmarks.places import Place
from tests.harness import Process, eventually
from tests.harness.processes import children_of, python
from workers.monitor.events import order
from workers.monitor.ingest import STREAM

Id = tuple[int, int]


@dataclass(frozen=True)
class Commit:
    """The last entry it brought, when it was done (epoch seconds), how long it took (seconds).

    `starved` is how much of that no processor was free.
    """

    last_id: Id
    done_at: float
    took: float
    starved: float


class Monitor:
    """The monitor of a place, watched."""

    def __init__(self, place: Place, **settings: str) -> None:
        self._notes = place.folder / "commits.txt"
        self._notes.unlink(missing_ok=True)
        argv = python("-m", "benchmarks.watched_monitor", str(self._notes))
        env = {**place.env, **settings}
        self.process = Process(argv, env, place.folder / "monitor.log")

    def commits(self) -> list[Commit]:
        if not self._notes.exists():
            return []
        lines = self._notes.read_text().splitlines(keepends=True)
        rows = [line.split() for line in lines if line.endswith("\n")]
        return [Commit(order(last_id), *map(float, numbers)) for last_id, *numbers in rows]

    def has_read(self, last_id: str, timeout: float = 300.0) -> None:
        """Wait until this entry is committed."""
        eventually(lambda: self._is_up_to(last_id), timeout, self.process.text, every=0.1)

    def _is_up_to(self, last_id: str) -> bool:
        assert self.process.exit_code is None, self.process.text()[-3000:]
        commits = self.commits()
        return bool(commits) and commits[-1].last_id >= order(last_id)


class Feed:
    """The steady stream into a place."""

    def __init__(self, place: Place, rate: int, seconds: float) -> None:
        self._log = place.folder / "feed.txt"
        self._log.unlink(missing_ok=True)
        arguments = [place.redis.url, STREAM, str(rate), str(seconds)]
        self.process = Process(python("-m", "benchmarks.feed", *arguments), place.env, self._log)

    def entries(self) -> list[tuple[str, float]]:
        """The id of each entry, and the time of its events."""
        rows = [line.split() for line in self._log.read_text().splitlines()]
        return [(stream_id, float(at)) for stream_id, at in rows]


def lags(entries: list[tuple[str, float]], commits: list[Commit]) -> list[float]:
    """Seconds from the events of each entry to the end of the commit that brought them."""
    ends = [commit.last_id for commit in commits]
    return [commits[bisect_left(ends, order(stream_id))].done_at - at for stream_id, at in entries]


def cpu_seconds(pid: int) -> float:
    """The processor time that a process has had, all its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory_mb(pid: int) -> tuple[float, float]:
    """Megabytes that a process and those it started hold: all, and those no file stands behind.

    (SQLite maps its file.) A page that several processes hold is shared out among them.
    """
    files = [Path(f"/proc/{each}/smaps_rollup") for each in (pid, *children_of(pid))]
    lines = [line.split() for file in files for line in file.read_text().splitlines()]
    whole, own = (sum(int(line[1]) for line in lines if line[0] == name) for name in ("Pss:", "Pss_Anon:"))
    return whole / 1024, own / 1024
