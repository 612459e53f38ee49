"""Workers of the suite, which know the tasks of `tests.tasks` as well."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.harness import Installation, Process, RedisServer
from tests.harness.processes import python


def worker(
    installation: Installation,
    queues: str = "default",
    *,
    slots: int = 1,
    pool: str = "prefork",
    tasks: str = "tests.tasks",
    **settings: str,
) -> Process:
    """A worker over `queues` that says it is ready, and gives up a lost process after a second."""
    argv = python("-m", "celery", "--skip-checks", "-A", "workers", "worker", "-I", tasks, "-Q", queues)
    argv += ["-c", str(slots), "-P", pool, "-n", f"suite-{id(settings)}@%h", "worker.lost_wait=1"]
    process = installation.start("worker-suite", argv, **settings)
    process.says(" ready.")
    return process


def events(redis_server: RedisServer) -> list[dict[str, Any]]:
    """What the recorders have written into the stream so far."""
    with redis_server.client() as client:
        entries: Any = client.xrange("nightdesk:events")
    return [event for _, fields in entries for event in json.loads(fields[b"e"])]


def lines(file: Path) -> list[str]:
    """What the jobs have noted so far."""
    return file.read_text().splitlines() if file.exists() else []
