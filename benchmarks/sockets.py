"""What a thousand viewers cost one web process, and how long a frame takes to reach them."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

from channels_redis.pubsub import RedisPubSubChannelLayer
from websockets.sync.client import connect
from websockets.typing import Origin

from benchmarks import viewer
from benchmarks.commits import cpu_seconds, memory_mb
from benchmarks.databases import SQLITE
from benchmarks.places import Place, place
from benchmarks.report import Row, percentile
from tests.harness import Process
from tests.harness.processes import python

JOBS = 10_000
FRAMES_A_SECOND = 2.0
PREFIX, TOPIC = "nightdesk:live", "overview.all"
PATIENCE = 300.0


@dataclass(frozen=True)
class Watched:
    """The delays of all frames (seconds), how many sockets held, and what it cost the web process.

    `cpu` is the share of a processor, `memory` in MiB.
    """

    delays: list[float]
    open: int
    sent: int
    cpu: float
    memory: float


def measure(sockets: int, seconds: float) -> list[Row]:
    """Rows: `sockets` viewers, each with a session of its own, watch for so long."""
    with ExitStack() as stack:
        here = stack.enter_context(place(SQLITE))
        here.run("manage.py", "fabricate", "--jobs", str(JOBS))
        watched = _watch(stack, here, sockets, seconds)
    what = f"{sockets:,} sockets at {FRAMES_A_SECOND:g} frames/s"
    return [
        Row(f"{what}, of a processor", watched.cpu * 100, "%", goal="<= 50"),
        Row(f"{what}, from the sender to the socket, p50", percentile(watched.delays, 50) * 1000, "ms"),
        Row(f"{what}, the same, p95", percentile(watched.delays, 95) * 1000, "ms", goal="<= 250"),
        Row(f"{what}, the same, most", max(watched.delays) * 1000, "ms"),
        Row(f"{what}, memory of the web process", watched.memory, "MiB", goal="<= 300"),
        Row(f"{what}, frames that arrived", len(watched.delays) / (watched.sent * sockets), "x"),
        Row(f"{what}, still open", watched.open, "sockets"),
    ]


def _watch(stack: ExitStack, here: Place, sockets: int, seconds: float) -> Watched:
    web, address = here.web_process(stack)
    crowd = _crowd(stack, here, address, sockets)
    text = _frame_of(address)
    began, cpu = time.monotonic(), cpu_seconds(web.pid)
    sent = asyncio.run(_send(here.redis.url, text, seconds))
    cpu = (cpu_seconds(web.pid) - cpu) / (time.monotonic() - began)
    memory, _ = memory_mb(web.pid)
    crowd.ask_to_stop()
    assert crowd.wait(60) == 0, crowd.text()[-3000:]
    told = json.loads(crowd.text().splitlines()[-1])
    return Watched(told["delays"], told["open"], sent, cpu, memory)


def _crowd(stack: ExitStack, here: Place, address: str, sockets: int) -> Process:
    """The viewers, once all of them are in."""
    keys = here.folder / "sessions.txt"
    keys.write_text(here.run("-m", "benchmarks.sessions", str(sockets)))
    argv = python("-m", "benchmarks.crowd", address.rpartition(":")[2])
    with keys.open() as stdin:
        crowd = Process(argv, here.env, here.folder / "crowd.log", stdin.fileno())
    stack.callback(crowd.stop)
    crowd.says("all are in", PATIENCE)
    return crowd


def _frame_of(address: str) -> str:
    """A frame of the overview as a viewer gets it."""
    headers = {"Cookie": viewer.sign_in(address)}
    url = address.replace("http", "ws") + "/live/"
    with connect(url, origin=Origin(address), additional_headers=headers) as socket:
        socket.send(json.dumps({"watch": ["overview"]}))
        while json.loads(text := str(socket.recv(30)))["topic"] != TOPIC:
            pass
    return text


async def _send(redis_url: str, text: str, seconds: float) -> int:
    """Send the frame as the monitor does, with the moment of each; how many were sent."""
    layer = RedisPubSubChannelLayer(hosts=[{"address": redis_url, "socket_timeout": None}], prefix=PREFIX)
    count = 0
    for at in _moments(seconds):
        await asyncio.sleep(max(0.0, at - time.monotonic()))
        frame = json.dumps({**json.loads(text), "at": time.time()}, separators=(",", ":"))
        await layer.group_send(f"frame.{TOPIC}", {"type": "frame", "topic": TOPIC, "text": frame})
        count += 1
    await asyncio.sleep(1.0)
    return count


def _moments(seconds: float) -> Iterator[float]:
    begin = time.monotonic()
    for number in range(int(seconds * FRAMES_A_SECOND)):
        yield begin + number / FRAMES_A_SECOND
