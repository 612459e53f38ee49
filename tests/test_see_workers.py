"""The pages of workers, and the orders that are given there."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import orjson
import pytest
from django.test import Client

from jobs.models import Action, Job, Order, Standing
from tests.test_order_workers import worker

pytestmark = pytest.mark.django_db


def running(name: str, seconds: float = 30.0) -> Job:
    now = datetime.now(UTC)
    job = Job.objects.create(
        task_id=f"t-{name}", task="shop.<b>", queue="low", state="running", worker=name, attempts=1,
        started_at=now - timedelta(seconds=seconds), seen_at=now,
    )  # fmt: skip
    Standing.objects.create(job=job, state="running", queue="low", task=job.task)
    return job


def test_workers_are_listed_worst_first_with_what_they_run(visitor: Client) -> None:
    worker(name="well@h")
    worker(name="dead@h", seen_at=datetime.now(UTC) - timedelta(seconds=90))
    running("dead@h")
    response = visitor.get("/workers/")
    assert [row["name"] for row in response.context["frame"]["workers"]] == ["dead@h", "well@h"]
    said = response.content.decode()
    assert "1 of 2 online" in said
    assert "their end was never heard" in said
    assert "shop.&lt;b&gt;" in said or "&lt;b&gt;" in said


def test_that_none_is_online_is_said_with_a_number(visitor: Client) -> None:
    worker(name="dead@h", seen_at=datetime.now(UTC) - timedelta(minutes=10))
    assert "0 of 1 online" in visitor.get("/workers/").content.decode()


@pytest.mark.parametrize("name", ["w@h", "a b/c@h", "~@h", "<i>@h"])
def test_each_worker_has_a_page_whatever_it_is_called(visitor: Client, name: str) -> None:
    found = worker(name=name)
    listed = visitor.get("/workers/").content.decode()
    response = visitor.get(f"/workers/~{found.pk}/", follow=True)
    assert response.context["frame"]["name"] == name
    assert f'href="{response.request["PATH_INFO"]}"' in listed


def test_an_earlier_incarnation_keeps_its_page(visitor: Client) -> None:
    old = worker(producer="old", name="w@h", seen_at=datetime.now(UTC) - timedelta(hours=1))
    worker(name="w@h")
    response = visitor.get(f"/workers/~{old.pk}/")
    assert response.context["frame"]["state"] == "retired"
    assert b"its name has come back since" in response.content


def test_a_worker_that_is_not_known_has_no_page(visitor: Client) -> None:
    assert visitor.get("/workers/nobody@h/").status_code == 404
    assert visitor.get("/workers/~77/").status_code == 404


@pytest.mark.parametrize(
    ("place", "fields", "method", "arguments"),
    [
        ("shutdown", {}, "shutdown", {}),
        ("restart-pool", {}, "pool_restart", {}),
        ("grow", {"by": "2"}, "pool_grow", {"n": 2}),
        ("shrink", {"by": "1"}, "pool_shrink", {"n": 1}),
        ("autoscale", {"least": "1", "most": "4"}, "autoscale", {"min": 1, "max": 4}),
        ("add-consumer", {"queue": "high"}, "add_consumer", {"queue": "high"}),
        ("cancel-consumer", {"queue": "low"}, "cancel_consumer", {"queue": "low"}),
        ("rate-limit", {"task": "t", "rate": "9/m"}, "rate_limit", {"task_name": "t", "rate_limit": "9/m"}),
        (
            "time-limits",
            {"task": "t", "soft": "", "hard": "9"},
            "time_limit",
            {"task_name": "t", "soft": None, "hard": 9.0},
        ),
        ("events", {"on": "0"}, "disable_events", {}),
    ],
)
def test_an_order_from_the_page_is_written_down(
    visitor: Client, place: str, fields: dict[str, str], method: str, arguments: dict[str, object]
) -> None:
    found = worker(setup={"pool_restarts": True, "autoscale": place == "autoscale"})
    response = visitor.post(f"/workers/~{found.pk}/{place}/", {"once": "a-key-of-this-test", **fields})
    assert response.status_code == 302, Action.objects.latest("pk").detail
    order = Order.objects.get()
    assert (order.worker, order.method, orjson.loads(order.arguments)) == ("w@h", method, arguments)
    assert order.action.via == "page"


def test_a_form_with_faults_says_which(visitor: Client) -> None:
    found = worker()
    response = visitor.post(f"/workers/~{found.pk}/grow/", {"once": "a-key-of-this-test", "by": "-3"})
    assert response.status_code == 400
    assert b"greater than or equal to 1" in response.content
    assert not Order.objects.exists()


def test_what_the_pool_can_not_do_is_off_and_says_why(visitor: Client) -> None:
    found = worker("solo")
    assert b"A pool of solo can&#x27;t change its size." in visitor.get("/workers/w@h/").content
    refused = visitor.post(f"/workers/~{found.pk}/grow/", {"once": "a-key-of-this-test", "by": "1"})
    assert refused.status_code == 409


@pytest.mark.parametrize("place", ["shutdown", "restart-pool"])
def test_what_ends_something_asks_first(visitor: Client, place: str) -> None:
    found = worker()
    running("w@h")
    assert b"w@h" in visitor.get(f"/workers/~{found.pk}/{place}/").content
    assert not Order.objects.exists()
