"""Workers of the suite, which know the tasks of `tests.tasks` as well."""

from __future__ import annotations

from pathlib import Path

from tests.harness import Installation, Process
from tests.harness.processes import python


def worker(
    installation: Installation, queues: str = "default", *, slots: int = 1, **settings: str
) -> Process:
    """A worker over `queues` that says it is ready, and gives up a lost process after a second."""
    argv = python("-m", "celery", "-A", "workers", "worker", "-I", "tests.tasks", "-Q", queues)
    argv += ["-c", str(slots), "-n", f"suite-{id(settings)}@%h", "worker.lost_wait=1"]
    process = installation.start("worker-suite", argv, **settings)
    process.says(" ready.")
    return process


def lines(file: Path) -> list[str]:
    """What the jobs have noted so far."""
    return file.read_text().splitlines() if file.exists() else []
