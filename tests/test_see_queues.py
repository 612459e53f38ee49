"""The pages of queues, over a day of a shop, and with names that fit no address."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from jobs.models import Action, Pause, QueueSample
from jobs.models.people import Outcome
from tests.seed import seed

pytestmark = pytest.mark.django_db
NAMES = ["high", "a/b", "..", "~x", "ünïcode & <b>", "x" * 255, " spaced "]


def sampled(name: str, depth: int = 3) -> None:
    now = datetime.now(UTC)
    QueueSample.objects.create(queue=name, at=now, depth=depth, oldest_at=now - timedelta(seconds=90))


@pytest.mark.parametrize("name", NAMES)
def test_each_queue_has_a_page_whatever_it_is_called(visitor: Client, name: str) -> None:
    sampled(name)
    listed = visitor.get("/queues/")
    address = reverse("queue", args=[name])
    assert f'href="{address}"' in listed.content.decode()
    assert visitor.get(address).context["frame"]["name"] == name


@pytest.mark.parametrize("address", ["/queues/nobody/", "/queues/~zz/", "/queues/~aGlnaA/"])
def test_a_queue_that_is_not_known_has_none(visitor: Client, address: str) -> None:
    assert visitor.get(address).status_code == 404


def test_the_worst_comes_first(visitor: Client) -> None:
    seed(datetime.now(UTC))
    sampled("nobody-reads", 40)
    asked_for_paused("low")
    rows = visitor.get("/queues/").context["frame"]["queues"]
    assert rows[0]["state"] == "none"
    assert next(row for row in rows if row["name"] == "low")["state"] == "paused"


def asked_for_paused(name: str) -> Pause:
    return Pause.objects.create(
        queue=name, who="ana", reason="partner <b>down</b>", since=datetime.now(UTC), reading='["a@h"]',
        held='{"a@h": true, "b@h": true}',
    )  # fmt: skip


def test_a_pause_says_who_and_why_and_how_far_it_has_come(visitor: Client) -> None:
    sampled("high")
    asked_for_paused("high")
    listed = visitor.get("/queues/").content.decode()
    assert "Paused by ana" in listed
    assert "1 of 2 workers so far" in listed
    shown = visitor.get("/queues/high/").content.decode()
    assert "partner &lt;b&gt;down&lt;/b&gt;" in shown
    assert "1 of 2 workers have stopped reading it so far." in shown


def post(visitor: Client, address: str, **fields: str) -> Action:
    response = visitor.post(address, {"once": "a-key-of-this-test", **fields})
    assert response.status_code in (302, 409, 400), response.content
    return Action.objects.latest("pk")


def test_pausing_from_the_page_writes_the_wish_down(visitor: Client) -> None:
    action = post(visitor, "/queues/high/pause/", reason="partner down", lasts="3600")
    assert (action.command, action.outcome, action.via) == ("queue.pause", Outcome.ASKED, "page")
    pause = Pause.objects.get()
    assert pause.until == action.at + timedelta(hours=1)
    assert pause.reason == "partner down"
    post(visitor, "/queues/high/pause/", reason="partner down", lasts="3600")
    assert Action.objects.count() == 1


def test_a_pause_up_to_a_moment_needs_one(visitor: Client) -> None:
    assert visitor.post("/queues/high/pause/", {"once": "a-key-of-this", "lasts": "until"}).status_code == 400
    action = post(visitor, "/queues/high/pause/", lasts="until", until="2020-01-01T04:00")
    assert action.refusal == "until"


def test_resuming_from_the_page(visitor: Client) -> None:
    asked_for_paused("high")
    assert b"ana paused it" in visitor.get("/queues/high/resume/").content
    assert post(visitor, "/queues/high/resume/").command == "queue.resume"
    assert Pause.objects.get().resumed_at is not None


def test_a_purge_wants_the_name_typed(visitor: Client) -> None:
    sampled("high", 312)
    assert b"about 312 messages" in visitor.get("/queues/high/purge/").content
    assert post(visitor, "/queues/high/purge/", confirm="hihg").refusal == "confirm"
    action = visitor.post("/queues/high/purge/", {"once": "another-key", "confirm": "high"})
    assert action.status_code == 302
    assert Action.objects.latest("pk").orders.get().method == "purge"


def test_who_may_not_pause_sees_a_button_that_is_off(client: Client) -> None:
    from django.contrib.auth.models import Group

    viewer = User.objects.create_user("vi")
    viewer.groups.add(Group.objects.get(name="viewer"))
    client.force_login(viewer)
    assert b"You lack the permission" in client.get("/queues/high/").content
    refused = client.post("/queues/high/pause/", {"once": "a-key-of-this-test"})
    assert (refused.status_code, Pause.objects.count()) == (403, 0)
