"""A way to a broker that lets a command through, and resets the connection in place of its answer."""

from __future__ import annotations

import select
import socket
import struct
import threading
from contextlib import suppress

RESET = struct.pack("ii", 1, 0)


class CuttingProxy:
    """Listens on loopback before a Redis on a unix socket, or a server on a port of loopback.

    The next command `cut_at` (in capitals) has no answer.
    """

    def __init__(self, behind: str | int) -> None:
        self._behind = behind
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.cut_at: bytes | None = None
        self.cuts = 0
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = self._connected()
                threading.Thread(target=self._pump, args=(client, server), daemon=True).start()

    def _connected(self) -> socket.socket:
        if isinstance(self._behind, int):
            return socket.create_connection(("127.0.0.1", self._behind))
        server = socket.socket(socket.AF_UNIX)
        server.connect(self._behind)
        return server

    def _pump(self, client: socket.socket, server: socket.socket) -> None:
        with client, server, suppress(OSError):
            while True:
                ready, _, _ = select.select([client, server], [], [])
                for side in ready:
                    data = side.recv(65_536)
                    if not data:
                        return
                    if side is client and self.cut_at and self.cut_at in data.upper():
                        self._cut(client, server, data)
                        return
                    (server if side is client else client).sendall(data)

    def _cut(self, client: socket.socket, server: socket.socket, data: bytes) -> None:
        """Let it happen, and never say so."""
        self.cut_at = None
        self.cuts += 1
        server.sendall(data)
        server.recv(65_536)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
