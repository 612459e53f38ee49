"""The hub: one place in the channel layer for a whole web process.

It takes each frame once and hands it to every socket that looks at its topic.
A socket that reads slowly skips frames: of each topic only the latest waits.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping
from typing import Any

import orjson
import structlog
from channels.layers import get_channel_layer

from jobs import scopes

logger = structlog.get_logger(__name__)

PULSE = "pulse"
BEAT_SECONDS = 5.0
RECHECK_SECONDS = 30.0
# A frame older than this is not given to a newcomer.
FRESH_SECONDS = 5.0
# If the monitor says nothing for so long, the web process makes the overview itself.
SILENT_SECONDS = 10.0
# A monitor that is well sends these every few seconds, whatever happens.
RESTLESS = ("overview.", "coverage.", "alerts.")
REDIS_PATIENCE = 3.0
SIGNED_OUT, OTHER_RIGHTS = 4401, 4405

Maker = Callable[[str], Awaitable[str | None]]
Checker = Callable[[Collection[str]], Awaitable[Mapping[str, str]]]


class Seat:
    """One socket's place in the hub: for each topic the latest frame that is not sent yet."""

    def __init__(self, session_key: str, scope: str) -> None:
        self.session_key = session_key
        self.scope = scope
        self.topics: frozenset[str] = frozenset()
        self.dismissed: int | None = None
        self.put_at = 0.0
        self._pending: dict[str, str] = {}
        self._ready = asyncio.Event()

    def put(self, topic: str, text: str) -> None:
        """Have `text` sent, in place of an older frame of the topic that still waits."""
        self._pending[topic] = text
        self.put_at = time.monotonic()
        self._ready.set()

    def dismiss(self, code: int) -> None:
        """Have the socket closed with `code`, and nothing more sent."""
        self.dismissed = code
        self._pending.clear()
        self._ready.set()

    async def take(self) -> list[str]:
        """What waits to be sent, once something does; nothing if dismissed."""
        await self._ready.wait()
        self._ready.clear()
        taken, self._pending = self._pending, {}
        return list(taken.values())


class Hub:
    """All seats of this process, and its one channel. Lives in one event loop.

    `make` gives the present frame of a topic from the database, or None;
    `scopes_of` gives what those of the session keys may see that are still good.
    """

    def __init__(self, make: Maker, scopes_of: Checker) -> None:
        self._make = make
        self._scopes_of = scopes_of
        self._layer: Any = get_channel_layer()
        self._seats: set[Seat] = set()
        self._latest: dict[str, tuple[float, str]] = {}
        self._making: dict[str, asyncio.Task[None]] = {}
        self._joined: set[str] = set()
        self._channel: str | None = None
        self._taking_place = asyncio.Lock()
        self._told: set[str] = set()
        self._connected = True
        self._echoed = True
        self._tasks: set[asyncio.Task[None]] = set()

    # For sockets

    def join(self, seat: Seat) -> None:
        """Take a socket in. The first one sets the hub to work."""
        self._seats.add(seat)
        if not self._tasks:
            for loop in (self._beat, self._pulse, self._recheck):
                self._start(self._forever(loop))

    def watch(self, seat: Seat, topics: frozenset[str]) -> None:
        """Show these topics to the socket from now on; the present frames come first."""
        fresh = topics - seat.topics
        seat.topics = topics
        for topic in fresh:
            self._give_present(seat, topic)

    def leave(self, seat: Seat) -> None:
        """Let a socket go."""
        self._seats.discard(seat)

    async def stop(self) -> None:
        """End the hub's own tasks."""
        tasks, self._tasks = self._tasks, set()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    @property
    def watched(self) -> set[str]:
        """Every topic that a socket looks at."""
        return {topic for seat in self._seats for topic in seat.topics}

    # Frames

    def _give_present(self, seat: Seat, topic: str) -> None:
        made_at, text = self._latest.get(topic, (0.0, ""))
        if topic in self._joined and time.monotonic() - made_at < FRESH_SECONDS:
            seat.put(topic, text)
        elif topic not in self._making:
            task = self._start(self._arrive(topic))
            self._making[topic] = task
            task.add_done_callback(lambda _: self._making.pop(topic, None))

    async def _arrive(self, topic: str) -> None:
        """Join the topic before reading the database, so that no frame falls between."""
        await self._reach_redis(lambda: self._join(topic))
        if topic not in self._told:
            await self._tell_interest()
        await self._refresh(topic)

    async def _refresh(self, topic: str) -> None:
        """Make the present frame here; a frame that the monitor sent meanwhile is newer."""
        before = self._latest.get(topic)
        text = await self._make(topic)
        if text is not None and self._latest.get(topic) is before:
            self._show(topic, text)

    def _show(self, topic: str, text: str) -> None:
        self._latest[topic] = (time.monotonic(), text)
        for seat in self._seats:
            if topic in seat.topics:
                seat.put(topic, text)

    # The channel layer

    async def _join(self, topic: str) -> None:
        async with self._taking_place:
            if self._channel is None:
                self._channel = await self._layer.new_channel("hub.")
                self._start(self._listen(self._channel))
        await self._layer.group_add(f"frame.{topic}", self._channel)
        self._joined.add(topic)

    async def _part(self, topic: str) -> None:
        self._joined.discard(topic)
        self._latest.pop(topic, None)
        await self._layer.group_discard(f"frame.{topic}", self._channel)

    async def _listen(self, channel: str) -> None:
        while True:
            message = await self._layer.receive(channel)
            if message["type"] == "frame" and message["topic"] in self._joined:
                self._show(message["topic"], message["text"])
            elif message["type"] == "echo":
                self._echoed = True

    async def _reach_redis(self, step: Callable[[], Awaitable[None]]) -> bool:
        """Do one step that needs Redis; whether it went well. Pages go on without it."""
        try:
            # Not wait_for, which in Python 3.11 may swallow the cancellation that `stop` sends.
            async with asyncio.timeout(REDIS_PATIENCE):
                await step()
        except Exception as fault:  # noqa: BLE001 whatever Redis, its client or its absence raises
            self._cut_off(fault)
            return False
        return True

    def _cut_off(self, fault: object) -> None:
        if self._connected:
            logger.warning("no frames come from Redis: %r", fault)
        self._connected = False

    # Loops

    async def _beat(self) -> None:
        """Every few seconds: prove the way through Redis, say what is looked at, mend what is missing."""
        await asyncio.sleep(BEAT_SECONDS)
        whole = await self._prove_way()
        for topic in self._joined - self.watched:
            await self._reach_redis(lambda topic=topic: self._part(topic))  # type: ignore[misc]
        for topic in self.watched - self._joined:
            await self._arrive(topic)
        await self._tell_interest()
        await self._mend(everything=not (whole and self._connected))
        self._connected = whole

    async def _prove_way(self) -> bool:
        """Whether what we sent to ourselves last time came back, and a new message can be sent."""
        if self._channel is None:
            return self._connected
        channel, came_back = self._channel, self._echoed
        if not came_back:
            self._cut_off("an echo is missing")
        self._echoed = False
        return await self._reach_redis(lambda: self._layer.send(channel, {"type": "echo"})) and came_back

    async def _tell_interest(self) -> None:
        self._told = self.watched
        defined = scopes.definitions(seat.scope for seat in self._seats)
        message = {"type": "interest", "topics": sorted(self._told), "scopes": defined}
        await self._reach_redis(lambda: self._layer.group_send("monitors", message))

    async def _mend(self, *, everything: bool) -> None:
        """Make frames here that do not come: all during a cut and after it, else those that never rest."""
        old = time.monotonic() - SILENT_SECONDS
        for topic in self.watched:
            silent = topic.startswith(RESTLESS) and self._latest.get(topic, (0.0,))[0] < old
            if everything or silent or topic not in self._latest:
                await self._refresh(topic)

    async def _pulse(self) -> None:
        await asyncio.sleep(BEAT_SECONDS)
        text = orjson.dumps({"topic": PULSE, "at": time.time()}).decode()
        quiet_since = time.monotonic() - BEAT_SECONDS
        for seat in self._seats:
            if seat.put_at <= quiet_since:
                seat.put(PULSE, text)

    async def _recheck(self) -> None:
        """Dismiss sockets whose account has been signed out or closed since, or may see something else."""
        await asyncio.sleep(RECHECK_SECONDS)
        good = await self._scopes_of({seat.session_key for seat in self._seats})
        for seat in self._seats:
            if seat.session_key not in good:
                seat.dismiss(SIGNED_OUT)
            elif good[seat.session_key] != seat.scope:
                seat.dismiss(OTHER_RIGHTS)

    async def _forever(self, turn: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await turn()
            except Exception:
                logger.warning("the hub goes on after a fault", exc_info=True)

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (fault := task.exception()) is not None:
            logger.warning("a frame could not be made and is tried again: %r", fault)
