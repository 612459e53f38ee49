"""The shop's partners on loopback: an HTTP server that takes webhooks and serves feeds."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

from django.conf import settings

from workers.demo.partners import PATIENCE, Answer, subscriber_answer, supplier_answer

LONGEST_BODY = 10_000


class PartnerUnreachable(ConnectionError):
    """The partners' server is not there: the producer has not started yet, or has stopped."""


class Partners(BaseHTTPRequestHandler):
    """POST /<partner>/<number>/<attempt> with JSON; echoes what it got."""

    answers: ClassVar[dict[str, Callable[[int, int], Answer]]] = {
        "hooks": subscriber_answer,
        "feeds": supplier_answer,
    }

    def do_POST(self) -> None:
        body = self.rfile.read(min(int(self.headers.get("Content-Length") or 0), LONGEST_BODY))
        try:
            partner, number, attempt = self.path.strip("/").split("/")
            answer = self.answers[partner](int(number), int(attempt))
        except (KeyError, ValueError):
            answer = Answer(404, 0.0)
        time.sleep(answer.delay)
        self._answer(answer.status, body)

    def _answer(self, status: int, body: bytes) -> None:
        try:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        except (BrokenPipeError, ConnectionResetError):
            pass  # the client lost its patience, as it should

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: thousands of requests an hour are no news."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64


@contextmanager
def partners_open(folder: Path) -> Iterator[str]:
    """Serve on a free loopback port, whose number is kept in `folder`; yields the address."""
    server = _Server(("127.0.0.1", 0), Partners)
    thread = threading.Thread(target=server.serve_forever, name="partners", daemon=True)
    thread.start()
    port = int(server.server_address[1])
    _keep(folder / "partners.json", {"port": port})
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.shutdown()
        server.server_close()


def ask(partner: str, number: int, attempt: int, message: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """POST `message` to a partner; the status and what came back.

    Raises TimeoutError after a second, PartnerUnreachable if nobody listens.
    """
    body = json.dumps(message)
    connection = http.client.HTTPConnection("127.0.0.1", _kept_port(), timeout=PATIENCE)
    try:
        connection.request(
            "POST", f"/{partner}/{number}/{attempt}", body, {"Content-Type": "application/json"}
        )
        response = connection.getresponse()
        return response.status, json.loads(response.read() or b"{}")
    except ConnectionError as error:
        raise PartnerUnreachable(str(error)) from error
    finally:
        connection.close()


def folder() -> Path:
    """Where the shop keeps its files."""
    path: Path = settings.DATA_DIR / "demo"
    path.mkdir(parents=True, exist_ok=True)
    return path


def _kept_port() -> int:
    try:
        return int(json.loads((folder() / "partners.json").read_text())["port"])
    except FileNotFoundError as error:
        raise PartnerUnreachable("the partners' server has not started yet") from error


def _keep(path: Path, value: dict[str, Any]) -> None:
    new = path.with_suffix(".new")
    new.write_text(json.dumps(value))
    new.replace(path)
