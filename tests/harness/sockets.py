from __future__ import annotations

import asyncio
import json
from typing import Any


class Socket:
    """A websocket client of an ASGI application in this process.

    Its network takes nothing while `gate` is closed.
    """

    def __init__(self, application: Any, headers: list[tuple[bytes, bytes]], path: str = "/live/") -> None:
        self._application = application
        self._scope = {
            "type": "websocket",
            "scheme": "ws",
            "path": path,
            "query_string": b"",
            "headers": headers,
            "subprotocols": [],
        }
        self._said: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._heard: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._task: asyncio.Future[None] | None = None
        self.gate = asyncio.Event()
        self.gate.set()
        self.tried = 0

    async def open(self) -> dict[str, Any]:
        """The server's answer: websocket.accept, or websocket.close with its code."""
        self._said.put_nowait({"type": "websocket.connect"})
        self._task = asyncio.ensure_future(self._application(self._scope, self._said.get, self._take))
        return await self._hear()

    def say(self, text: str | None = None, *, data: bytes | None = None) -> None:
        self._said.put_nowait({"type": "websocket.receive", "text": text, "bytes": data})

    async def frame(self, topic: str) -> Any:
        """The next frame of a topic; others are passed over."""
        while (frame := await self.any_frame())["topic"] != topic:
            pass
        return frame

    async def any_frame(self) -> Any:
        message = await self._hear()
        assert message["type"] == "websocket.send", message
        return json.loads(message["text"])

    async def close_code(self) -> int:
        """The code with which the server closes, whatever it sends before."""
        while (message := await self._hear())["type"] != "websocket.close":
            pass
        return int(message["code"])

    async def leave(self) -> None:
        """Go, as a browser does, and see the server's side end without a fault."""
        self.gate.set()
        self._said.put_nowait({"type": "websocket.disconnect", "code": 1000})
        if self._task is not None:
            await asyncio.wait_for(self._task, 10)

    async def _hear(self) -> dict[str, Any]:
        return await asyncio.wait_for(self._heard.get(), 10)

    async def _take(self, message: dict[str, Any]) -> None:
        if message["type"] == "websocket.send":
            self.tried += 1
            await self.gate.wait()
        self._heard.put_nowait(message)
