"""/healthz says that the process lives, /readyz whether the whole works."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.conf import LazySettings
from django.contrib.auth.models import User
from django.db import DatabaseError, connection
from django.test import Client
from django.utils import timezone

from jobs.models import Heartbeat, Position, Worker


@pytest.fixture
def now() -> datetime:
    return timezone.now()


@pytest.fixture
def healthy(db: None, now: datetime) -> None:
    """All parts have just been heard of."""
    for name in ("monitor", "beat", "broker"):
        Heartbeat.objects.create(name=name, at=now, host="h", pid=1, detail=json.dumps({"ok": True}))
    Position.objects.create(source="stream", last_event_at=now, committed_at=now, lag=0.3)
    Worker.objects.create(producer="p", name="w@h", seen_at=now, online_at=now)


def test_the_process_lives_whatever_the_database_does(client: Client) -> None:
    # A test without the mark may not touch the database, whoever asks.
    response = client.get("/healthz", headers={"Cookie": "nightdesk_session=anything"})
    assert (response.status_code, response.content) == (200, b"ok\n")


def test_a_whole_system_is_ready(client: Client, ops: User, healthy: None, now: datetime) -> None:
    client.force_login(ops)
    response = client.get("/readyz")
    report = response.json()
    assert response.status_code == 200
    assert report["ok"] is True
    assert set(report["checks"]) == {
        "database",
        "broker",
        "stream",
        "last_event",
        "workers",
        "beat",
        "monitor",
    }
    assert all(check["ok"] is True for check in report["checks"].values())
    assert report["checks"]["stream"]["lag"] == 0.3
    assert report["checks"]["last_event"]["at"] == now.timestamp()
    assert report["checks"]["workers"]["online"] == 1


def test_a_stranger_is_told_the_status_alone(client: Client, healthy: None) -> None:
    response = client.get("/readyz")
    assert (response.status_code, response.content) == (200, b"")


def test_a_stranger_is_told_the_status_alone_when_it_is_bad(client: Client, db: None) -> None:
    response = client.get("/readyz")
    assert (response.status_code, response.content) == (503, b"")


def test_the_token_opens_the_details(client: Client, healthy: None, settings: LazySettings) -> None:
    settings.READY_TOKEN = "a token for the probe"
    assert (
        client.get("/readyz", headers={"Authorization": "Bearer a token for the probe"}).json()["ok"] is True
    )
    assert client.get("/readyz", headers={"Authorization": "Bearer another"}).content == b""
    assert client.get("/readyz", headers={"Authorization": "a token for the probe"}).content == b""


def test_no_token_is_no_token(client: Client, healthy: None, settings: LazySettings) -> None:
    settings.READY_TOKEN = ""
    assert client.get("/readyz", headers={"Authorization": "Bearer "}).content == b""


@pytest.mark.parametrize(
    ("name", "age", "faulty"),
    [
        ("monitor", 16, {"monitor", "stream", "last_event", "workers"}),
        ("beat", 16, {"beat"}),
        ("broker", 16, {"broker"}),
    ],
)
def test_a_stale_sample_is_not_ready(
    client: Client, ops: User, healthy: None, now: datetime, name: str, age: float, faulty: set[str]
) -> None:
    Heartbeat.objects.filter(name=name).update(at=now - timedelta(seconds=age))
    assert faults(client, ops) == faulty


def faults(client: Client, ops: User) -> set[str]:
    client.force_login(ops)
    response = client.get("/readyz")
    report: Any = response.json()
    found = {name for name, check in report["checks"].items() if not check["ok"]}
    assert response.status_code == (503 if found else 200)
    assert report["ok"] is not bool(found)
    return found


def test_a_broker_out_of_reach_is_not_ready(client: Client, ops: User, healthy: None) -> None:
    Heartbeat.objects.filter(name="broker").update(detail=json.dumps({"ok": False, "error": "refused"}))
    assert faults(client, ops) == {"broker"}


def test_a_record_far_behind_is_not_ready(client: Client, ops: User, healthy: None) -> None:
    Position.objects.update(lag=11.0)
    assert faults(client, ops) == {"stream"}


def test_without_a_worker_it_is_not_ready(client: Client, ops: User, healthy: None, now: datetime) -> None:
    Worker.objects.update(offline_at=now)
    assert faults(client, ops) == {"workers"}


def test_no_database_is_not_ready(client: Client, healthy: None) -> None:
    def refuse(*_: object) -> None:
        raise DatabaseError("the disk is full")

    with connection.execute_wrapper(refuse):
        response = client.get("/readyz", headers={"Cookie": "nightdesk_session=anything"})
    assert (response.status_code, response.content) == (503, b"")


def test_the_token_tells_that_it_is_the_database(
    client: Client, healthy: None, settings: LazySettings
) -> None:
    settings.READY_TOKEN = "a token for the probe"

    def refuse(*_: object) -> None:
        raise DatabaseError("the disk is full")

    with connection.execute_wrapper(refuse):
        report = client.get("/readyz", headers={"Authorization": "Bearer a token for the probe"}).json()
    assert {name: check["ok"] for name, check in report["checks"].items()} == {"database": False}


def test_being_not_ready_is_no_error_in_the_log(
    client: Client, db: None, caplog: pytest.LogCaptureFixture
) -> None:
    assert client.get("/readyz").status_code == 503
    assert caplog.records == []
