"""The loop that tells the browsers: after a commit or a sample, one frame a topic that somebody looks at.

It runs on a thread of its own, so that nothing here can hold up the record.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import structlog
from channels.layers import get_channel_layer
from django.db import close_old_connections, connections

from jobs import live, scopes
from jobs.live import Topic
from jobs.models import Cluster

logger = structlog.get_logger(__name__)

INTEREST_SECONDS = 15.0
MOST_TOPICS = 2_000
# Where more ways of looking are in use, web processes make the frames of the others, less often.
MOST_SCOPES = 50
REDIS_PATIENCE = 3.0
RETRY_SECONDS = 1.0
STOP_SECONDS = 5.0
# The shortest time between two frames of a topic, in seconds.
INTERVALS = {
    "overview": 0.25,
    "job": 0.25,
    "jobs": 1.0,
    "queues": 1.0,
    "workers": 1.0,
    "alerts": 1.0,
    "schedules": 2.0,
    "coverage": 2.0,
}
# Making frames may take this share of the thread's time.
LARGEST_SHARE = 0.25


class Outlook:
    """Which topics are looked at, which have changed, and which may be sent now: decides, does nothing.

    Moments are monotonic seconds.
    """

    def __init__(self) -> None:
        self._wanted_until: dict[Topic, float] = {}
        self._changed: set[Topic] = set()
        self._not_before: dict[Topic, float] = {}

    def want(self, topics: Collection[Topic], now: float) -> None:
        """Somebody looks at these; a topic new to us has changed while nobody watched."""
        for topic in topics:
            if topic not in self._wanted_until and not self._has_room_for(topic):
                continue
            if topic not in self._wanted_until:
                self._changed.add(topic)
            self._wanted_until[topic] = now + INTEREST_SECONDS

    def _has_room_for(self, topic: Topic) -> bool:
        room = topic.scope in self._scopes or len(self._scopes) < MOST_SCOPES
        return room and len(self._wanted_until) < MOST_TOPICS

    @property
    def _scopes(self) -> set[str]:
        return {topic.scope for topic in self._wanted_until}

    def change(self, kinds: Collection[str], job_ids: Collection[int]) -> None:
        """These kinds of topics, and the topics of these jobs, have something new."""
        for topic in self._wanted_until:
            if topic.kind in kinds or topic.job_id in job_ids:
                self._changed.add(topic)

    def due(self, now: float) -> list[Topic]:
        """What to send now; counts as sent."""
        self._forget(now)
        ready = [topic for topic in self._changed if self._not_before.get(topic, 0.0) <= now]
        self._changed.difference_update(ready)
        # What most look at comes first.
        return sorted(ready, key=lambda topic: (topic.job_id is not None, INTERVALS[topic.kind]))

    def sent(self, topic: Topic, now: float, cost: float) -> None:
        """`cost`: the seconds that making the frame took; each scope has one like it made."""
        crowd = 1 if topic.job_id is not None else max(1, len(self._scopes))
        self._not_before[topic] = now + max(INTERVALS[topic.kind], cost * crowd / LARGEST_SHARE)

    def failed(self, topic: Topic, now: float) -> None:
        """It is still to be sent."""
        self._changed.add(topic)
        self._not_before[topic] = now + RETRY_SECONDS

    def wait(self, now: float) -> float | None:
        """Seconds until something becomes due by itself; None if nothing will."""
        moments = [self._not_before.get(topic, now) for topic in self._changed]
        return max(0.0, min(moments) - now) if moments else None

    def _forget(self, now: float) -> None:
        self._wanted_until = {topic: until for topic, until in self._wanted_until.items() if until > now}
        self._changed &= self._wanted_until.keys()
        self._not_before = {
            topic: at for topic, at in self._not_before.items() if topic in self._wanted_until or at > now
        }


class Publisher:
    """`changed` and `sampled` may be called from any thread and never block."""

    def __init__(self) -> None:
        self._layer: Any = get_channel_layer()
        self._outlook = Outlook()
        self._memory = live.Memory()
        self._lock = threading.Lock()
        self._touched: set[int] = set()
        self._kinds: set[str] = set()
        self._thread = threading.Thread(target=self._run, name="Publisher", daemon=True)
        self._database = ThreadPoolExecutor(1, "Publisher-database")
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wake: asyncio.Event | None = None
        self._stopping = False
        self._well = True

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    def stop(self) -> None:
        """End, within a few seconds."""
        self._stopping = True
        self._call()
        self._thread.join(STOP_SECONDS)

    def changed(self, job_ids: Collection[int]) -> None:
        """A commit has touched these jobs."""
        with self._lock:
            self._touched.update(job_ids)
            self._kinds.update(("overview", "jobs"))
        self._call()

    def sampled(self) -> None:
        """Depth, workers and heartbeats have been looked at again."""
        with self._lock:
            self._kinds.update(("overview", "queues", "workers", "schedules", "coverage", "alerts"))
        self._call()

    def alerted(self) -> None:
        """An alert is in another state."""
        with self._lock:
            self._kinds.add("alerts")
        self._call()

    def steered(self) -> None:
        """An order or a pause has got further."""
        with self._lock:
            self._kinds.update(("overview", "queues", "workers"))
        self._call()

    def _call(self) -> None:
        loop, wake = self._loop, self._wake
        if loop is not None and wake is not None and not loop.is_closed():
            loop.call_soon_threadsafe(wake.set)

    def _run(self) -> None:
        asyncio.run(self._work())
        self._database.submit(connections.close_all).result()
        self._database.shutdown()

    async def _work(self) -> None:
        self._loop, self._wake = asyncio.get_running_loop(), asyncio.Event()
        listening = asyncio.create_task(self._listen())
        while not self._stopping:
            await self._rest(self._wake)
            self._collect()
            for topic in self._outlook.due(time.monotonic()):
                await self._publish(topic)
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)

    async def _rest(self, wake: asyncio.Event) -> None:
        try:
            await asyncio.wait_for(wake.wait(), self._outlook.wait(time.monotonic()))
        except TimeoutError:
            return
        wake.clear()

    def _collect(self) -> None:
        with self._lock:
            kinds, self._kinds = self._kinds, set()
            touched, self._touched = self._touched, set()
        self._outlook.change(kinds, touched)

    async def _publish(self, topic: Topic) -> None:
        begun = time.monotonic()
        try:
            text = await asyncio.get_running_loop().run_in_executor(self._database, self._make, topic)
            made = time.monotonic()
            if text is not None:
                await self._send(topic, text)
            self._outlook.sent(topic, begun, made - begun)
            self._well = True
        except Exception as fault:  # noqa: BLE001 the top of a long-running loop
            self._outlook.failed(topic, time.monotonic())
            self._note(fault)

    def _make(self, topic: Topic) -> str | None:
        close_old_connections()
        frame = live.frame(topic, Cluster.DEFAULT_ID, datetime.now(UTC), self._memory)
        return None if frame is None else live.text_of(frame)

    async def _send(self, topic: Topic, text: str) -> None:
        message = {"type": "frame", "topic": str(topic), "text": text}
        await _soon(self._layer.group_send(f"frame.{topic}", message))

    async def _listen(self) -> None:
        """Hear what is looked at. The layer itself comes back after Redis does."""
        while True:
            try:
                channel = await _soon(self._layer.new_channel("monitor."))
                await _soon(self._layer.group_add("monitors", channel))
                while True:
                    self._hear(await self._layer.receive(channel))
            except Exception as fault:  # noqa: BLE001 the top of a long-running loop
                self._note(fault)
                await asyncio.sleep(RETRY_SECONDS)

    def _hear(self, message: dict[str, Any]) -> None:
        scopes.learn(message.get("scopes", ()))
        self._outlook.want(_known(message["topics"]), time.monotonic())
        self._call()

    def _note(self, fault: Exception) -> None:
        if self._well:
            logger.warning("a frame is missing: %s", repr(fault), exc_info=True)
        self._well = False


def _known(texts: Iterable[str]) -> list[Topic]:
    """Those topics that we know: a web process of another release may know others."""
    topics = []
    for text in texts:
        with suppress(ValueError):
            topics.append(live.topic_read(text))
    return topics


async def _soon(step: Awaitable[Any]) -> Any:
    """A step that needs Redis, but not for long."""
    async with asyncio.timeout(REDIS_PATIENCE):
        return await step
