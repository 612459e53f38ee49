"""One letter, one process: what it may reach, what it tells, and that it can be ended at any time."""

from __future__ import annotations

import hmac
import json
import os
import signal
import subprocess
import sys
import threading
from email import message_from_string
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from tests.harness import eventually
from tests.harness.processes import ROOT
from tests.receivers import Received, drip, mail, mute, web
from workers.notify import child
from workers.notify.courier import Courier
from workers.notify.letter import Letter, Outcome
from workers.notify.sending import mail_settings

SECRET = "a secret for receivers"
TOKEN = "t0ken-of-ours"


def letter(kind: str, address: str, **fields: Any) -> Letter:
    told = {
        "seconds": 30.0,
        "allow_http": True,
        "allow_private": True,
        "delivery": "d1",
        "subject": "Low",
        "text": "It waits",
    }
    return Letter(kind, address, **{**told, **fields})  # type: ignore[arg-type]


def sent(letter: Letter) -> Outcome:
    """How it ends."""
    courier = Courier(letter)
    try:
        return ended(courier)
    finally:
        courier.end()


def ended(courier: Courier) -> Outcome:
    outcome = eventually(courier.outcome, 60)
    assert outcome is not None
    return outcome


def url(received: Received) -> str:
    return f"http://127.0.0.1:{received.port}/hook/{TOKEN}"


def chat(received: Received) -> str:
    """An address of apprise for the same receiver."""
    return f"json://127.0.0.1:{received.port}/{TOKEN}"


class TestWebhooks:
    def test_one_is_signed_and_known_by_its_delivery(self) -> None:
        with web() as received:
            told = letter(
                "webhook", url(received), body='{"event": "firing"}', secret=SECRET, attempt=2, unsure=True
            )
            assert sent(told) == Outcome("delivered")
        _, headers, body = received.requests[0]
        parts = dict(part.split("=") for part in headers["Nightdesk-Signature"].split(","))
        signed = f"{parts['t']}.d1.".encode() + body
        assert parts["v1"] == hmac.new(SECRET.encode(), signed, sha256).hexdigest()
        names = ("Nightdesk-Delivery", "Nightdesk-Attempt", "Nightdesk-Repeat")
        assert tuple(headers[name] for name in names) == ("d1", "2", "maybe")

    @pytest.mark.parametrize(
        ("status", "ending"), [(500, "failed"), (429, "failed"), (404, "refused"), (302, "refused")]
    )
    def test_what_may_pass_is_told_from_what_does_not(self, status: int, ending: str) -> None:
        with web(status) as received:
            outcome = sent(letter("webhook", url(received)))
        assert (outcome.ending, str(status) in outcome.why) == (ending, True)

    def test_a_private_address_is_refused_where_it_is_not_allowed(self) -> None:
        with web() as received:
            outcome = sent(letter("webhook", url(received), allow_private=False))
        assert (outcome.ending, received.connections) == ("refused", 0)
        assert "not a public address" in outcome.why

    def test_nobody_there_is_told_from_a_connection_that_broke(self) -> None:
        with web() as gone:
            pass
        assert sent(letter("webhook", url(gone))).ending == "failed"
        with web(b"HTTP/1.1") as received:
            assert sent(letter("webhook", url(received))).ending == "unknown"


class TestMail:
    def test_it_is_plain_with_the_same_id_at_each_attempt(self, settings: Any) -> None:
        self.by_smtp(settings)
        with mail() as received:
            settings.EMAIL_PORT = received.port
            told = letter("email", "ana@example.com, bo@example.com", mail=mail_settings(settings))
            assert [sent(told).ending, sent(told).ending] == ["delivered", "delivered"]
        first, second = (message_from_string(text) for text in received.mails)
        assert first["Message-ID"] == second["Message-ID"] == "<d1@localhost>"
        assert (first["Subject"], first["To"]) == ("Low", "ana@example.com, bo@example.com")
        assert first["Auto-Submitted"] == "auto-generated"
        assert first.get_content_type() == "text/plain"

    @pytest.mark.parametrize(("code", "ending"), [(450, "failed"), (550, "refused")])
    def test_what_may_pass_is_told_from_what_does_not(self, settings: Any, code: int, ending: str) -> None:
        self.by_smtp(settings)
        with mail(code) as received:
            settings.EMAIL_PORT = received.port
            outcome = sent(letter("email", "ana@example.com", mail=mail_settings(settings)))
        assert (outcome.ending, str(code) in outcome.why) == (ending, True)

    def by_smtp(self, settings: Any) -> None:
        settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
        settings.EMAIL_HOST = "127.0.0.1"


class TestApprise:
    def test_it_carries_title_text_and_tone(self) -> None:
        with web() as received:
            assert sent(letter("apprise", chat(received), tone="failure")) == Outcome("delivered")
        told = json.loads(received.requests[0][2])
        assert (told["title"], told["message"], told["type"]) == ("Low", "It waits", "failure")

    def test_a_private_address_is_refused_where_it_is_not_allowed(self) -> None:
        with web() as received:
            outcome = sent(letter("apprise", chat(received), allow_private=False))
        assert outcome == Outcome("refused", "127.0.0.1 is not a public address")
        assert received.connections == 0

    def test_a_server_at_fault_may_take_it_later(self) -> None:
        with web(500) as received:
            assert sent(letter("apprise", chat(received))).ending == "failed"

    def test_an_address_that_it_cannot_read_is_refused(self) -> None:
        assert sent(letter("apprise", "nosuch://there")).ending == "refused"

    @pytest.mark.parametrize("address", ["dbus://", "syslog://"])
    def test_nothing_is_said_to_the_machine_itself(self, address: str) -> None:
        assert sent(letter("apprise", address)).ending == "refused"


UNDER_GUARD = """
import sys
from types import ModuleType
package = ModuleType("workers"); package.__path__ = [sys.argv[1]]; sys.modules["workers"] = package
from workers.notify import guard
import requests, socket, subprocess, os
# What is 127.0.0.2 here stands for a public address.
guard.is_public = lambda text: text == "127.0.0.2"
port, file = int(sys.argv[2]), sys.argv[3]
kept = guard.Guard(allow_private=False)
kept.arm()
try:
    {code}
    print("let through")
except OSError:
    print("|".join(kept.refused))
"""


def under_guard(code: str, port: int = 0, file: str = "") -> str:
    """What becomes of `code` in a process under guard, in which 127.0.0.2 is public."""
    script = UNDER_GUARD.replace("{code}", code)
    argv = [sys.executable, "-c", script, str(ROOT / "workers"), str(port), file]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="all of 127.0.0.0/8 is here on Linux alone")
class TestGuard:
    @pytest.mark.parametrize("inside", ["127.0.0.1", "169.254.169.254", "10.0.0.7", "[::1]", "localhost"])
    def test_a_redirect_inside_is_not_followed(self, inside: str) -> None:
        with web(host="127.0.0.2") as outside, web() as secret:
            moved = (
                f"HTTP/1.1 307 So\r\nLocation: http://{inside}:{secret.port}/\r\nContent-Length: 0\r\n\r\n"
            )
            outside.answers.append(moved.encode())
            said = under_guard(
                "requests.post(f'http://127.0.0.2:{port}/', data='x', timeout=5)", outside.port
            )
        assert "is not a public address" in said
        assert (len(outside.requests), secret.connections) == (1, 0)

    def test_a_name_that_leads_outside_first_and_inside_then_is_judged_each_time(self) -> None:
        code = """
    places = [["127.0.0.2"], ["127.0.0.1"]]
    def look_up(host, at, *_, **__):
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (ip, at)) for ip in places.pop(0)]
    socket.getaddrinfo = look_up
    print(requests.get(f"http://hooks.example:{port}/", timeout=5).status_code)
    requests.get(f"http://hooks.example:{port}/", timeout=5)
"""
        with web(host="0.0.0.0") as received:
            said = under_guard(code, received.port)
        assert said.splitlines() == ["200", "127.0.0.1 is not a public address"]

    @pytest.mark.parametrize(
        "code",
        [
            "socket.socket().connect(('localhost', port))",
            "socket.socket().connect(('127.1', port))",
            "socket.socket().connect_ex(('127.0.0.1', port))",
            "socket.socket(socket.AF_UNIX).connect('/run/docker.sock')",
            "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', port))",
            "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendmsg([b'x'], [], 0, ('127.0.0.1', port))",
            "socket.socket(socket.AF_INET6).connect(('::ffff:127.0.0.1', port))",
            "subprocess.run(['true'])",
            "os.system('true')",
            "open(file).read()",
            "os.open(file, os.O_RDONLY)",
            "open(file, 'w').write('x')",
        ],
    )  # fmt: skip
    def test_there_is_no_way_around(self, code: str, tmp_path: Path) -> None:
        secret = tmp_path / "secret-key"
        secret.write_text("hunter2")
        with web() as received:
            said = under_guard(code, received.port, str(secret))
        assert said not in ("", "let through")
        assert "hunter2" not in said
        assert (received.connections, secret.read_text()) == (0, "hunter2")

    def test_what_is_public_is_reached(self) -> None:
        with web(host="127.0.0.2") as received:
            said = under_guard(
                "requests.post(f'http://127.0.0.2:{port}/', data='x', timeout=5)", received.port
            )
        assert (said, len(received.requests)) == ("let through", 1)


class TestProcesses:
    @pytest.mark.parametrize("kind", ["webhook", "apprise", "email"])
    def test_whoever_hangs_is_ended_and_nobody_knows_what_came_of_it(self, kind: str, settings: Any) -> None:
        settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
        settings.EMAIL_HOST = "127.0.0.1"
        over = threading.Event()
        with mute(over) as received:
            settings.EMAIL_PORT = received.port
            address = {"webhook": url(received), "apprise": chat(received), "email": "a@example.com"}[kind]
            told = letter(kind, address, mail=mail_settings(settings) if kind == "email" else {})
            clock = [0.0]
            courier = Courier(told, clock=lambda: clock[0])
            eventually(lambda: received.connections, 60)
            assert courier.outcome() is None
            clock[0] = told.seconds + 1
            outcome = courier.outcome()
            assert outcome is not None
            assert outcome.ending == "unknown"
            with pytest.raises(ProcessLookupError):
                os.kill(courier.pid, 0)

    def test_one_that_drips_is_ended_too(self) -> None:
        over = threading.Event()
        with drip(over) as received:
            try:
                assert sent(letter("apprise", chat(received), seconds=3.0)).ending == "unknown"
            finally:
                over.set()

    def test_one_that_is_killed_says_that_nobody_knows(self) -> None:
        over = threading.Event()
        with mute(over) as received:
            courier = Courier(letter("webhook", url(received)))
            eventually(lambda: received.connections, 60)
            os.kill(courier.pid, signal.SIGKILL)
            assert ended(courier).ending == "unknown"

    @pytest.mark.slow
    def test_one_that_is_left_alone_ends_by_itself(self) -> None:
        over = threading.Event()
        with mute(over) as received:
            courier = Courier(letter("webhook", url(received), seconds=1.0), clock=lambda: 0.0)
            assert ended(courier).ending in ("unknown", "failed")

    def test_no_secret_is_in_its_arguments_or_its_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("DATABASE_URL", "postgresql://u:hunter2@host/name")
        over = threading.Event()
        with mute(over) as received:
            courier = Courier(letter("webhook", url(received), secret=SECRET))
            eventually(lambda: received.connections, 60)
            process = Path(f"/proc/{courier.pid}")
            seen = process.joinpath("cmdline").read_bytes() + process.joinpath("environ").read_bytes()
            courier.end()
        assert child.__file__.encode() in seen
        assert not any(word in seen for word in (b"hunter2", TOKEN.encode(), SECRET.encode()))

    def test_a_letter_shows_no_secret_where_it_is_printed(self) -> None:
        shown = repr(
            letter("webhook", f"https://h/{TOKEN}", secret=SECRET, mail={"EMAIL_HOST_PASSWORD": "hunter2"})
        )
        assert not any(word in shown for word in (TOKEN, SECRET, "hunter2"))
