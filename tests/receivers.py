"""Receivers on loopback for what jobs send: HTTP and SMTP, with scripted answers."""

from __future__ import annotations

import socketserver
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any


@dataclass
class Received:
    """What came: requests as (path, headers, body), mails as text; and how often anybody connected.

    `answers` are what the next requests get.
    """

    port: int = 0
    connections: int = 0
    requests: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    mails: list[str] = field(default_factory=list)
    answers: list[int | bytes] = field(default_factory=list)


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, handler: type[Any], received: Received, tls: ssl.SSLContext | None, host: str) -> None:
        super().__init__((host, 0), handler)
        self.received = received
        received.port = self.server_address[1]
        if tls is not None:
            self.socket = tls.wrap_socket(self.socket, server_side=True)

    def process_request(self, request: Any, client_address: Any) -> None:
        self.received.connections += 1
        super().process_request(request, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Who leaves in the middle is no news."""


@contextmanager
def served(
    handler: type[Any], tls: ssl.SSLContext | None = None, host: str = "127.0.0.1"
) -> Iterator[Received]:
    received = Received()
    server = Server(handler, received, tls, host)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield received
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def web(
    *answers: int | bytes, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1"
) -> Iterator[Received]:
    """Answers with these, a status or raw bytes, one a request; then with 200."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"] or 0))
            self.server.received.requests.append(  # type: ignore[attr-defined]
                (self.path, dict(self.headers.items()), body)
            )
            left = self.server.received.answers  # type: ignore[attr-defined]
            answer = left.pop(0) if left else 200
            if isinstance(answer, bytes):
                self.wfile.write(answer)
            else:
                self.wfile.write(f"HTTP/1.1 {answer} So\r\nContent-Length: 2\r\n\r\nok".encode())

        def do_GET(self) -> None:
            self.do_POST()

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    with served(Handler, tls, host) as received:
        received.answers.extend(answers)
        yield received


@contextmanager
def drip(pause: threading.Event) -> Iterator[Received]:
    """Answers a byte at a time, for as long as `pause` is not set."""

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.wfile.write(b"HTTP/1.1 200 OK\r\nSlow: ")
            while not pause.wait(0.02):
                self.wfile.write(b"x")

    with served(Handler) as received:
        yield received


@contextmanager
def mute(pause: threading.Event) -> Iterator[Received]:
    """Takes connections and says nothing, for as long as `pause` is not set."""

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            pause.wait()

    with served(Handler) as received:
        try:
            yield received
        finally:
            pause.set()


@contextmanager
def mail(*codes: int) -> Iterator[Received]:
    """Answers recipients with these codes, one each; then takes them."""
    left = list(codes)

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.say("220 here")
            while line := self.rfile.readline().decode().strip():
                word = line[:4].upper()
                if word == "DATA":
                    self.say("354 go on")
                    self.take()
                elif word == "QUIT":
                    return self.say("221 bye")
                elif word == "RCPT" and left:
                    self.say(f"{left.pop(0)} not so")
                else:
                    self.say("250 fine")
            return None

        def say(self, text: str) -> None:
            self.wfile.write(f"{text}\r\n".encode())

        def take(self) -> None:
            lines = iter(self.rfile.readline, b".\r\n")
            self.server.received.mails.append(b"".join(lines).decode())  # type: ignore[attr-defined]
            self.say("250 taken")

    with served(Handler) as received:
        yield received
