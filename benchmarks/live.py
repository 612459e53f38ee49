"""From the end of a job to the number in a viewer's hands, with real processes and a real socket.

A worker, a monitor and a web process run on a Redis of their own. Jobs return
the moment at which they ended; a socket client, signed in as a browser is,
notes when a frame first counts them. Both read the same machine's clock.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import statistics
import time
import urllib.parse
import urllib.request
from http.cookiejar import CookieJar

from django.contrib.auth.models import User
from websockets.asyncio.client import connect

from benchmarks.report import Row, percentile
from tests.harness import Installation
from tests.tasks import end_time

PASSWORD = "a viewer of benchmarks"


def measure(installation: Installation, jobs: int) -> list[Row]:
    """Rows: the delay from a job's end to the frame that counts it, in milliseconds."""
    User.objects.create_superuser("viewer", password=PASSWORD)
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
    cookie = await asyncio.to_thread(_sign_in, address)
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


def _sign_in(address: str) -> str:
    """The cookies of a signed-in browser."""
    jar = CookieJar()
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(jar))
    page = opener.open(f"{address}/sign-in/").read().decode()
    token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page)
    assert token is not None, "the sign-in page has no form"
    form = {"username": "viewer", "password": PASSWORD, "csrfmiddlewaretoken": token[1]}
    request = urllib.request.Request(
        f"{address}/sign-in/", urllib.parse.urlencode(form).encode(), {"Referer": f"{address}/sign-in/"}
    )
    opener.open(request).read()
    return "; ".join(f"{cookie.name}={cookie.value}" for cookie in jar)
