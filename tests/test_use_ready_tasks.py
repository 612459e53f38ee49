"""The ready tasks: webhooks that go nowhere private, e-mail, the report of operations, tidying up."""

from __future__ import annotations

import csv
import hmac
import io
import json
import shutil
import socket
import ssl
import subprocess
import threading
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from celery.result import EagerResult
from django.contrib.sessions.models import Session
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.utils import timezone
from django_celery_results.models import TaskResult

from jobs.models import Attempt, Bucket, Job
from jobs.rollups import Sketches
from tests.harness import Installation, eventually
from tests.receivers import Received, drip, mail, web
from tests.working import worker
from workers.enqueue import enqueue
from workers.ready import posting, webhooks
from workers.ready.addresses import Refused, addresses_of, is_public, place_of
from workers.ready.emails import send_email
from workers.ready.report import generate_report
from workers.ready.webhooks import send_webhook
from workers.retries import Permanent, Transient
from workers.tasks import cleanup_expired

SECRET = "a secret for receivers"


@pytest.fixture
def nearby(settings: Any) -> Any:
    """Plain HTTP to this machine is allowed."""
    settings.WEBHOOK_ALLOW = frozenset({"http", "private"})
    settings.WEBHOOK_SECRETS = {"default": SECRET}
    return settings


def send(url: str, payload: Any = None) -> EagerResult[Any]:
    return send_webhook.apply((url, payload or {"order": 7}))


def at_last(url: str) -> Any:
    """What the last attempt comes to."""
    return send_webhook.apply((url, {}), retries=send_webhook.max_retries).get()


def at(received: Received, path: str = "/hook?a=1") -> str:
    return f"http://127.0.0.1:{received.port}{path}"


@pytest.mark.usefixtures("nearby")
class TestWebhooks:
    def test_it_is_signed_with_its_time_and_its_delivery(self) -> None:
        with web() as received:
            result = send(at(received), {"order": 7, "when": datetime(2026, 1, 1, tzinfo=UTC)})
        path, headers, body = received.requests[0]
        assert (path, json.loads(body)) == ("/hook?a=1", {"order": 7, "when": "2026-01-01T00:00:00Z"})
        told = dict(part.split("=") for part in headers["Nightdesk-Signature"].split(","))
        signed = f"{told['t']}.{headers['Nightdesk-Delivery']}.".encode() + body
        assert told["v1"] == hmac.new(SECRET.encode(), signed, sha256).hexdigest()
        assert headers["Nightdesk-Delivery"] == result.id
        assert result.get() == {"status": 200, "bytes": 2}

    @pytest.mark.parametrize("status", [500, 503, 429, 408])
    def test_what_passes_is_tried_again_as_the_same_delivery(self, status: int) -> None:
        with web(status, status) as received:
            assert send(at(received)).get()["status"] == 200
        deliveries = {headers["Nightdesk-Delivery"] for _, headers, _ in received.requests}
        assert (len(received.requests), len(deliveries)) == (3, 1)

    @pytest.mark.parametrize("status", [400, 404, 410])
    def test_other_refusals_are_final(self, status: int) -> None:
        with web(status) as received, pytest.raises(Permanent, match=str(status)):
            send(at(received)).get()
        assert len(received.requests) == 1

    def test_redirects_are_not_followed(self) -> None:
        with web() as elsewhere:
            moved = f"HTTP/1.1 302 So\r\nLocation: {at(elsewhere)}\r\nContent-Length: 0\r\n\r\n"
            with web(moved.encode()) as received, pytest.raises(Permanent, match="not followed"):
                send(at(received)).get()
        assert (len(received.requests), elsewhere.connections) == (1, 0)

    def test_a_receiver_that_drips_is_cut_off(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(posting, "PATIENCE", 0.3)
        over = threading.Event()
        with drip(over) as received:
            place = place_of(at(received), ["http"])
            found = addresses_of(place, True)
            with pytest.raises(ConnectionError, match="no answer within"):
                posting.delivered(place, found, b"{}", {})
            over.set()

    def test_of_a_long_answer_64_kb_are_read(self) -> None:
        long = b"HTTP/1.1 200 So\r\n\r\n" + b"x" * 300_000
        with web(long) as received:
            assert send(at(received)).get() == {"status": 200, "bytes": 65_536}

    @pytest.mark.parametrize(
        ("told", "seconds"), [("7", 7.0), ("999999", 3600.0), ("Mon, 1 Jan", None), ("", None)]
    )
    def test_the_receiver_may_say_when(self, told: str, seconds: float | None) -> None:
        assert posting.waited(told) == seconds
        with pytest.raises(Transient) as caught:
            webhooks.judged(posting.Answer(503, 0, seconds))
        assert caught.value.after == seconds

    def test_who_does_not_answer_is_tried_again(self) -> None:
        with web() as gone:
            pass
        with pytest.raises(Transient, match="can't be reached"):
            at_last(at(gone))

    def test_without_a_secret_nothing_is_sent(self, nearby: Any) -> None:
        nearby.WEBHOOK_SECRETS = {}
        with web() as received, pytest.raises(Permanent, match="WEBHOOK_SECRETS"):
            send(at(received)).get()
        assert received.connections == 0


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, ssl.SSLContext]:
    if shutil.which("openssl") is None:
        pytest.skip("there is no openssl here")
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    argv = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *subject]
    subprocess.run([*argv, "-keyout", str(key), "-out", str(cert)], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    return cert, context


@pytest.mark.usefixtures("nearby")
class TestCertificates:
    def test_a_known_one_of_that_name_is_taken(
        self, certificate: tuple[Path, ssl.SSLContext], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
        with web(tls=certificate[1]) as received:
            assert send(f"https://localhost:{received.port}/").get()["status"] == 200
            with pytest.raises(Permanent, match="certificate"):
                send(f"https://127.0.0.1:{received.port}/").get()
        assert len(received.requests) == 1

    def test_an_unknown_one_is_refused(self, certificate: tuple[Path, ssl.SSLContext]) -> None:
        with web(tls=certificate[1]) as received, pytest.raises(Permanent, match="certificate"):
            send(f"https://localhost:{received.port}/").get()
        assert received.requests == []


PRIVATE = [
    "127.0.0.1", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "localhost", "0.0.0.0", "10.1.2.3",
    "172.16.0.1", "192.168.1.1", "100.64.0.1", "169.254.169.254", "224.0.0.1", "255.255.255.255", "240.0.0.1",
    "[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:10.0.0.1]", "[::127.0.0.1]", "[fe80::1]", "[fec0::1]",
    "[fc00::1]", "[fd00:ec2::254]", "[ff02::1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::1]", "[2001::1]",
    "[2001:db8::1]",
]  # fmt: skip


class TestPrivateAddresses:
    @pytest.mark.parametrize("host", PRIVATE)
    def test_nothing_is_sent_to_one(self, nearby: Any, monkeypatch: pytest.MonkeyPatch, host: str) -> None:
        nearby.WEBHOOK_ALLOW = frozenset({"http"})
        dialled: list[Any] = []
        monkeypatch.setattr(posting, "connected", lambda *told: dialled.append(told))
        with web() as received, pytest.raises(Permanent, match="not a public address"):
            send(f"http://{host}:{received.port}/").get()
        assert (received.connections, dialled) == (0, [])

    @pytest.mark.parametrize("address", ["93.184.216.34", "8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8"])
    def test_public_ones_are_none(self, address: str) -> None:
        assert is_public(address)

    def test_one_private_address_among_public_ones_is_enough(self, monkeypatch: pytest.MonkeyPatch) -> None:
        resolve(monkeypatch, ["93.184.216.34", "10.0.0.1"])
        with pytest.raises(Refused, match=r"10\.0\.0\.1"):
            addresses_of(place_of("https://hooks.example/", ["https"]), allow_private=False)

    def test_a_name_that_changes_is_looked_up_once_and_connected_to_as_judged(
        self, nearby: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        nearby.WEBHOOK_ALLOW = frozenset({"http"})
        lookups = resolve(monkeypatch, ["93.184.216.34"], ["127.0.0.1"])
        dialled: list[Any] = []

        def dial(found: Any, until: float) -> socket.socket:
            dialled.extend(address.sockaddr[0] for address in found)
            raise ConnectionRefusedError

        monkeypatch.setattr(posting, "connected", dial)
        with pytest.raises(Transient):
            at_last("http://hooks.example/")
        assert (dialled, lookups) == (["93.184.216.34"], ["hooks.example"])

    @pytest.mark.usefixtures("nearby")
    def test_the_receiver_still_hears_the_name(self, monkeypatch: pytest.MonkeyPatch) -> None:
        lookups = resolve(monkeypatch, ["127.0.0.1"])
        with web() as received:
            assert send(f"http://hooks.example:{received.port}/").get()["status"] == 200
        assert received.requests[0][1]["Host"] == f"hooks.example:{received.port}"
        assert lookups == ["hooks.example"]


def resolve(monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> list[str]:
    """Have names looked up as told, one answer after the other; the list of what was asked."""
    asked: list[str] = []

    def look_up(host: str, port: int, **_: Any) -> list[Any]:
        asked.append(host)
        found = answers[len(asked) - 1]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in found]

    monkeypatch.setattr("workers.ready.addresses.socket.getaddrinfo", look_up)
    return asked


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://example.com/", "must begin with https://"),
        ("file:///etc/passwd", "must begin with"),
        ("gopher://example.com/", "must begin with"),
        ("https:///path", "must name a host"),
        ("https://user:hunter2@example.com/", "neither user nor password"),
        ("https://example.com:99999/", "no URL"),
        ("https://exa mple.com/", "spaces"),
        ("https://example.com/\r\nX: y", "control"),
        ("https://" + "a" * 70 + ".com/", "no URL"),
        ("https://example.com/" + "x" * 2_000, "too long"),
    ],
)
def test_an_odd_url_is_refused(url: str, words: str) -> None:
    with pytest.raises(Refused, match=words) as caught:
        place_of(url, ["https"])
    assert "hunter2" not in str(caught.value)


class TestEmail:
    @pytest.fixture(autouse=True)
    def by_smtp(self, settings: Any) -> None:
        settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
        settings.EMAIL_HOST = "127.0.0.1"

    def test_it_arrives_as_text_and_html(self, settings: Any) -> None:
        with mail() as received:
            settings.EMAIL_PORT = received.port
            result = send_email.apply(
                ("ana@example.com", "Hello", "plain", "<b>rich</b>", "shop@example.com")
            )
        assert result.get() == 1
        text = received.mails[0]
        assert f"<{result.id}@example.com>" in text
        assert "plain" in text
        assert "<b>rich</b>" in text

    def test_a_server_that_is_busy_is_asked_again_with_the_same_message(self, settings: Any) -> None:
        with mail(451, 450) as received:
            settings.EMAIL_PORT = received.port
            assert send_email.apply((["ana@example.com"], "Hello", "text")).get() == 1
        assert (received.connections, len(received.mails)) == (3, 1)

    def test_a_refusal_is_final(self, settings: Any) -> None:
        with mail(550) as received:
            settings.EMAIL_PORT = received.port
            with pytest.raises(Permanent, match="550"):
                send_email.apply(("nobody@example.com", "Hello", "text")).get()
        assert received.connections == 1

    def test_a_server_that_is_away_is_asked_again(self, settings: Any) -> None:
        with mail() as gone:
            settings.EMAIL_PORT = gone.port
        with pytest.raises(Transient, match="refused"):
            send_email.run("ana@example.com", "Hello", "text")

    def test_a_line_break_in_a_header_is_refused(self) -> None:
        with pytest.raises(Permanent):
            send_email.apply(("ana@example.com", "Hello\r\nBcc: all@example.com", "text")).get()


DAY = datetime(2026, 3, 1, tzinfo=UTC)


def bucket(hour: int, task: str, queue: str = "default", succeeded: int = 0, failed: int = 0) -> None:
    sketches = Sketches()
    for seconds in range(succeeded):
        sketches.at("succeeded", "total").add(1.0 + seconds)
    for tier in (Bucket.HOUR, Bucket.MINUTE):
        begin = int((DAY + timedelta(hours=hour)).timestamp()) // tier
        Bucket.objects.create(
            tier=tier, start=begin, task=task, queue=queue, succeeded=succeeded, failed=failed,
            published=succeeded + failed, sketches=sketches.dumps(),
        )  # fmt: skip


@pytest.mark.django_db
class TestReport:
    def test_it_has_all_of_the_span_as_a_page_and_as_a_table(self) -> None:
        bucket(3, "shop.pay", succeeded=9, failed=1)
        bucket(4, "<b>evil</b>", "low", succeeded=2)
        bucket(5, "=cmd()", "low", failed=1)
        bucket(24, "shop.later", succeeded=5)
        made = generate_report.apply((DAY.isoformat(), (DAY + timedelta(days=1)).isoformat())).get()
        assert made["ended"] == 13
        page = read(made["html"])
        assert "&lt;b&gt;evil&lt;/b&gt;" in page
        assert "90.00 %" in page
        assert "shop.later" not in page
        assert page.count("<svg") == 2
        assert not any(word in page for word in ("<script", "<b>evil", "http:", "https:", "onload"))
        rows = list(csv.DictReader(io.StringIO(read(made["csv"]))))
        assert sum(int(row["succeeded"]) for row in rows) == 11
        assert {row["task"] for row in rows} == {"shop.pay", "<b>evil</b>", "'=cmd()"}
        paid = next(row for row in rows if row["task"] == "shop.pay")
        assert float(paid["p50_seconds"]) == pytest.approx(5.0, rel=0.02)

    def test_by_default_it_is_of_yesterday_and_may_be_empty(self) -> None:
        made = generate_report.apply().get()
        yesterday = timezone.now() - timedelta(days=1)
        assert made["ended"] == 0
        assert f"{yesterday:%Y-%m-%d} 00:00" in read(made["html"])

    def test_days_may_be_named(self) -> None:
        bucket(3, "shop.pay", succeeded=2)
        assert generate_report.apply(("2026-03-01", "2026-03-02")).get()["ended"] == 2

    @pytest.mark.parametrize(
        ("since", "until"), [("soon", None), ("2026-03-02", "2026-03-01"), ("2026-13-01", None)]
    )
    def test_what_is_no_span_is_refused(self, since: str, until: str | None) -> None:
        with pytest.raises(Permanent):
            generate_report.apply((since, until)).get()


def read(name: str) -> str:
    with default_storage.open(name) as file:
        return str(file.read().decode())


@pytest.mark.django_db
def test_what_has_had_its_time_is_deleted_and_the_rest_stays() -> None:
    now = timezone.now()
    for age in (1, 400):
        name = f"reports/{now - timedelta(days=age):%Y-%m-%d}/{age}.html"
        default_storage.delete(name)
        default_storage.save(name, ContentFile(b"x"))
        Session.objects.create(session_key=f"s{age}", expire_date=now + timedelta(days=10 - age))
        result = TaskResult.objects.create(task_id=f"t{age}", status="SUCCESS")
        TaskResult.objects.filter(pk=result.pk).update(date_done=now - timedelta(days=age - 1))
    assert cleanup_expired.apply().get() == {"reports": 1}
    assert list(Session.objects.values_list("session_key", flat=True)) == ["s1"]
    assert list(TaskResult.objects.values_list("task_id", flat=True)) == ["t1"]
    assert cleanup_expired.apply().get() == {"reports": 0}


@pytest.mark.django_db(transaction=True)
def test_a_worker_knows_them_and_retries_what_passes(installation: Installation) -> None:
    with web(503) as receiver, mail(451) as post:
        told = enqueue(send_webhook, at(receiver), {"order": 7})
        sent = enqueue("workers.ready.emails.send_email", "ana@example.com", "Hello", "text")
        made = [enqueue(generate_report), enqueue(cleanup_expired)]
        installation.monitor()
        worker(
            installation, slots=2, WEBHOOK_ALLOW="http,private", WEBHOOK_SECRETS=f"default:{SECRET}",
            EMAIL_URL=f"smtp://127.0.0.1:{post.port}",
        )  # fmt: skip
        ids = [job.id for job in (told, sent, *made)]
        done = Job.objects.filter(task_id__in=ids, state="succeeded")
        eventually(lambda: done.count() == 4, timeout=40, message="all of them succeeded")
    assert Attempt.objects.filter(job__task_id=told.id).count() == 2
    assert (len(receiver.requests), len(post.mails)) == (2, 1)
