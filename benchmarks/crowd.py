"""A crowd of viewers in one process: a bare socket for each session, and when each frame reached it.

usage: python -m benchmarks.crowd PORT   (session keys on stdin, one a line)

Says "all are in" once each socket has had its first frame. On SIGTERM it ends
with a line of JSON: how many sockets are still open, and the delays of all
frames (seconds) between the moment that a frame names as `at` and its arrival.
"""

from __future__ import annotations

import asyncio
import json
import re
import signal
import sys
import time

WATCH = b'{"watch": ["overview"]}'
AT = re.compile(rb'"at":([0-9.]+)')
TEXT, PING, PONG = 0x1, 0x9, 0xA
# How many sockets open at the same time: a crowd comes one after the other.
AT_ONCE = 20


class Viewer(asyncio.Protocol):
    """One socket, with as little of the protocol as can be: a crowd should cost less than who serves it."""

    def __init__(self, request: bytes) -> None:
        self._request = request
        self._buffer = b""
        self._open = False
        self._transport: asyncio.Transport | None = None
        self.delays: list[float] = []
        self.first: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self._open:
            self._shake_hands()
        while (frame := self._next_frame()) is not None:
            kind, content = frame
            if kind == PING:
                self._say(PONG, content)
            else:
                self._take(content)

    def connection_lost(self, fault: Exception | None) -> None:
        self._transport = None
        if not self.first.done():
            self.first.set_exception(ConnectionError("closed before its first frame"))

    @property
    def is_open(self) -> bool:
        return self._transport is not None

    def _shake_hands(self) -> None:
        head, end, rest = self._buffer.partition(b"\r\n\r\n")
        if not end:
            return
        assert b" 101 " in head, head
        self._buffer, self._open = rest, True
        self._say(TEXT, WATCH)

    def _say(self, kind: int, content: bytes) -> None:
        """A short message, masked by zeros, which leave it as it is."""
        if self._transport is not None:
            self._transport.write(bytes((0x80 | kind, 0x80 | len(content), 0, 0, 0, 0)) + content)

    def _next_frame(self) -> tuple[int, bytes] | None:
        """What came whole, and its kind: servers do not mask, and send a frame in one piece."""
        if not self._open or len(self._buffer) < 2:
            return None
        size, begin = self._buffer[1], 2
        if size >= 126:
            begin = 4 if size == 126 else 10
            size = int.from_bytes(self._buffer[2:begin])
        if len(self._buffer) < begin + size:
            return None
        kind, content = self._buffer[0] & 0x0F, self._buffer[begin : begin + size]
        self._buffer = self._buffer[begin + size :]
        return kind, content

    def _take(self, frame: bytes) -> None:
        now, told = time.time(), AT.search(frame[:200])
        if told is None or b"overview" not in frame[:40]:
            return
        if self.first.done():
            self.delays.append(now - float(told[1]))
        else:
            self.first.set_result(None)


def request_of(port: int, key: str) -> bytes:
    lines = (
        "GET /live/ HTTP/1.1",
        f"Host: 127.0.0.1:{port}",
        f"Origin: http://127.0.0.1:{port}",
        f"Cookie: nightdesk_session={key}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: bmlnaHRkZXNrLWJlbmNoMQ==",
    )
    return "\r\n".join((*lines, "", "")).encode()


async def main(port: int, keys: list[str]) -> None:
    loop = asyncio.get_running_loop()
    enough = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, enough.set)
    viewers: list[Viewer] = []
    for first in range(0, len(keys), AT_ONCE):
        came = [await _enter(port, key) for key in keys[first : first + AT_ONCE]]
        await asyncio.gather(*(viewer.first for viewer in came))
        viewers += came
    print("all are in", flush=True)
    for viewer in viewers:
        viewer.delays.clear()
    await enough.wait()
    delays = [round(delay, 6) for viewer in viewers for delay in viewer.delays]
    print(json.dumps({"open": sum(viewer.is_open for viewer in viewers), "delays": delays}), flush=True)


async def _enter(port: int, key: str) -> Viewer:
    loop = asyncio.get_running_loop()
    _, viewer = await loop.create_connection(lambda: Viewer(request_of(port, key)), "127.0.0.1", port)
    return viewer


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.stdin.read().split()))
