"""A way to Redis that lets a command through, and resets the connection in place of its answer."""

from __future__ import annotations

import select
import socket
import struct
import threading
from contextlib import suppress

RESET = struct.pack("ii", 1, 0)


class CuttingProxy:
    """Listens on loopback before a Redis on a unix socket; the next command `cut_at` has no answer."""

    def __init__(self, unix_socket: str) -> None:
        self._behind = unix_socket
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.cut_at: bytes | None = None
        self.cuts = 0
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self._listener.getsockname()[1]}/0"

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.socket(socket.AF_UNIX)
                server.connect(self._behind)
                threading.Thread(target=self._pump, args=(client, server), daemon=True).start()

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
