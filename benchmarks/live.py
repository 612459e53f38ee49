"""From the end of a job to the number in a viewer's hands, with real processes and a real socket.

A worker, a monitor and a web process run on a Redis of their own. Jobs return
the moment at which they ended; a socket client, signed in as a browser is,
notes when a frame first counts them. Both read the same machine's clock.
"""

from __future__ import annotations

import asyncio
import json
import random
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from django.conf import global_settings, settings
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connection
from websockets.asyncio.client import connect

from benchmarks import viewer
from benchmarks.report import Row, percentile
from tests.harness import Installation, RedisServer
from tests.tasks import end_time


def run(jobs: int) -> list[Row]:
    """The rows of `measure`, with processes of its own."""
    settings.PASSWORD_HASHERS = global_settings.PASSWORD_HASHERS  # those of the web process
    with fresh_database() as path:
        redis = RedisServer(settings.DATA_DIR)
        redis.start()
        installation = Installation(settings.DATA_DIR, f"sqlite:///{path}", redis)
        try:
            return measure(installation, jobs)
        finally:
            installation.stop()
            redis.stop()


@contextmanager
def fresh_database() -> Iterator[Path]:
    """An empty record in a file of its own, for this process as well."""
    with tempfile.TemporaryDirectory(prefix="nd-bench-") as folder:
        connection.close()
        path = Path(folder) / "bench.sqlite3"
        connection.settings_dict["NAME"] = str(path)
        call_command("migrate", verbosity=0)
        yield path
        connection.close()


def measure(installation: Installation, jobs: int) -> list[Row]:
    """Rows: the delay from a job's end to the frame that counts it, in milliseconds."""
    User.objects.create_superuser(viewer.NAME, password=viewer.PASSWORD)
    assert installation.manage("collectstatic", "--noinput").wait() == 0
    _, address = installation.web()
    installation.monitor()
    installation.worker("default", slots=2)
    delays = asyncio.run(_watch(address, jobs))
    return [
        Row("job end -> frame, p50", percentile(delays, 50) * 1000, "ms"),
        Row("job end -> frame, p95", percentile(delays, 95) * 1000, "ms", goal="<= 1000"),
        Row("job end -> frame, max", max(delays) * 1000, "ms"),
        Row("job end -> frame, mean", statistics.mean(delays) * 1000, "ms"),
    ]


async def _watch(address: str, jobs: int) -> list[float]:
    cookie = await asyncio.to_thread(viewer.sign_in, address)
    socket_address = address.replace("http", "ws") + "/live/"
    headers = {"Cookie": cookie}
    async with connect(socket_address, origin=address, additional_headers=headers) as socket:  # type: ignore[arg-type]
        await socket.send(json.dumps({"watch": ["overview"]}))
        frames: list[tuple[float, int]] = []
        reader = asyncio.create_task(_note_frames(socket, frames))
        ends = await asyncio.to_thread(_run_jobs, jobs)
        await _until_counted(frames, jobs)
        reader.cancel()
    return [_first_frame(frames, count) - end for count, end in enumerate(sorted(ends), 1)]


async def _note_frames(socket: object, frames: list[tuple[float, int]]) -> None:
    async for text in socket:  # type: ignore[attr-defined]
        frame = json.loads(text)
        if frame["topic"].startswith("overview"):
            frames.append((time.time(), frame["figures"]["success"]["succeeded"]))


def _run_jobs(jobs: int) -> list[float]:
    results = []
    for _ in range(jobs):
        results.append(end_time.delay())
        time.sleep(random.uniform(0.02, 0.15))
    return [result.get(timeout=30) for result in results]


async def _until_counted(frames: list[tuple[float, int]], jobs: int) -> None:
    async with asyncio.timeout(30):
        while not frames or frames[-1][1] < jobs:
            await asyncio.sleep(0.05)


def _first_frame(frames: list[tuple[float, int]], count: int) -> float:
    return next(at for at, succeeded in frames if succeeded >= count)
