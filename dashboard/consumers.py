"""One socket: who it is, what it asks for, and what it is sent."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection
from contextlib import suppress
from functools import cache
from typing import Any

import orjson
from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncWebsocketConsumer
from django.contrib.auth import get_user
from django.contrib.sessions.backends.db import SessionStore
from django.http import HttpRequest
from django.utils import timezone

from dashboard.context import memory
from dashboard.hub import SIGNED_OUT, Hub, Seat
from jobs import live
from jobs.models import Cluster

GARBAGE = 4400
MOST_TOPICS = 8
LONGEST_MESSAGE = 2_000
MOST_MESSAGES, WITHIN_SECONDS = 60, 60.0


def topics_asked(text: str | None, scope: str) -> frozenset[str]:
    """The topics of `{"watch": ["overview", "job-17"]}`. Raises ValueError for anything else."""
    if text is None or len(text) > LONGEST_MESSAGE:
        raise ValueError("not a short text")
    message = orjson.loads(text)
    names = message.get("watch") if isinstance(message, dict) else None
    if not isinstance(names, list) or len(names) > MOST_TOPICS:
        raise ValueError("not a watch message")
    return frozenset(str(live.topic_named(_text(name), scope)) for name in names)


def _text(name: object) -> str:
    if not isinstance(name, str):
        raise ValueError("not a name")
    return name


def make_frame(topic: str) -> str | None:
    """The present frame of a topic, from the database."""
    frame = live.frame(live.topic_read(topic), Cluster.DEFAULT_ID, timezone.now(), memory)
    return None if frame is None else live.text_of(frame)


def scopes_of(session_keys: Collection[str]) -> dict[str, str]:
    """What each of those sessions may see that still belong to somebody who may see anything."""
    scopes = {key: _scope_of(key) for key in session_keys}
    return {key: scope for key, scope in scopes.items() if scope is not None}


def _scope_of(session_key: str) -> str | None:
    request = HttpRequest()
    request.session = SessionStore(session_key)
    return live.scope_of(get_user(request))


@cache
def the_hub() -> Hub:
    """The one of this process."""
    return Hub(database_sync_to_async(make_frame), database_sync_to_async(scopes_of))


class LiveConsumer(AsyncWebsocketConsumer):  # type: ignore[misc]
    """Authentication, and what the browser says. Frames come from the hub."""

    # No layer of this name: the hub alone has a place in the channel layer.
    channel_layer_alias = "none"

    def __init__(self, hub: Hub | None = None) -> None:
        super().__init__()
        self._hub = hub or the_hub()
        self._seat: Seat | None = None
        self._writer: asyncio.Task[None] | None = None
        self._said: list[float] = []

    async def connect(self) -> None:
        """Accept first: a browser learns the code of a close, but not of a refusal."""
        await self.accept()
        self._scope = await database_sync_to_async(live.scope_of)(self.scope["user"])
        session_key = self.scope["session"].session_key
        if self._scope is None or session_key is None:
            await self.close(SIGNED_OUT)
            return
        self._seat = Seat(session_key, self._scope)
        self._hub.join(self._seat)
        self._writer = asyncio.create_task(self._write(self._seat))

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        if self._seat is None or self._scope is None:
            return
        try:
            self._count_message()
            topics = topics_asked(text_data, self._scope)
        except ValueError:
            self._seat.dismiss(GARBAGE)
            return
        self._hub.watch(self._seat, topics)

    def _count_message(self) -> None:
        now = time.monotonic()
        self._said = [*(at for at in self._said if at > now - WITHIN_SECONDS), now]
        if len(self._said) > MOST_MESSAGES:
            raise ValueError("too many messages")

    async def disconnect(self, code: int) -> None:
        if self._seat is not None:
            self._hub.leave(self._seat)
        if self._writer is not None:
            self._writer.cancel()

    async def _write(self, seat: Seat) -> None:
        """Send what waits, as fast as the socket takes it."""
        # A socket that closes under our hands is no fault; `disconnect` follows.
        with suppress(OSError, RuntimeError):
            while True:
                for text in await seat.take():
                    await self.send(text_data=text)
                if seat.dismissed is not None:
                    self._hub.leave(seat)
                    await self.close(seat.dismissed)
                    return


async def refuse(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """A websocket at an address where there is none."""
    await receive()
    await send({"type": "websocket.close", "code": 4404})
