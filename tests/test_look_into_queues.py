"""What the page of a queue tells beyond its row: where its jobs are, who waits longest, how long they did."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from hypothesis import given
from hypothesis import strategies as st

from dashboard.wait_chart import HEIGHT, wait_chart
from jobs import queue_frame
from jobs.models import Bucket, Cluster, Job, Payload, Reach, Standing, Worker
from jobs.rollups import Sketches
from tests.plans import is_dear, make_large
from tests.seed import seed
from workers.brokers import QueueDepth
from workers.monitor.sample import _queue_sample

NOW = datetime(2026, 11, 21, 3, 2, 30, tzinfo=UTC)
MINUTE = int(NOW.timestamp()) // 60


def frame(name: str = "high", scope: str = "all", now: datetime = NOW) -> dict[str, Any]:
    found = queue_frame.queue(name, Cluster.DEFAULT_ID, scope, now)
    assert found is not None
    return found


def waiting(number: int, state: str = "queued", task: str = "shop.pay") -> Job:
    job = Job.objects.create(
        task_id=f"{state}-{number}", task=task, queue="high", state=state, seen_at=NOW, priority=number,
        published_at=NOW - timedelta(seconds=100 - number),
    )  # fmt: skip
    Standing.objects.create(job=job, state=state, queue="high", task=task)
    Payload.objects.create(job=job, args=f'["order {number}"]', kwargs="{}")
    return job


def bucket(minutes_ago: int, *waits: float) -> None:
    sketches = Sketches()
    for seconds in waits:
        sketches.at("succeeded", "wait").add(seconds)
    Bucket.objects.create(
        tier=Bucket.MINUTE, start=MINUTE - minutes_ago, task="shop.pay", queue="high",
        succeeded=len(waits), sketches=sketches.dumps(),
    )  # fmt: skip
    Bucket.objects.get_or_create(
        tier=Bucket.HOUR, start=(MINUTE - minutes_ago) // 60, task="shop.pay", queue="high"
    )


@pytest.mark.django_db
def test_what_waits_is_told_by_priority_the_most_urgent_first() -> None:
    _queue_sample(NOW, "high", QueueDepth(14, None, None, {5: 12, 9: 2})).save()
    assert frame()["priorities"] == [{"priority": 9, "count": 2}, {"priority": 5, "count": 12}]


@pytest.mark.django_db
def test_priorities_that_a_broker_can_not_tell_are_not_known() -> None:
    _queue_sample(NOW, "high", QueueDepth(14, None, None)).save()
    assert frame()["priorities"] is None


@pytest.mark.django_db
def test_open_jobs_are_counted_by_where_they_are() -> None:
    for number in range(3):
        waiting(number, "scheduled")
    waiting(1, "received")
    waiting(1)
    assert frame()["open"] == {
        "scheduled": {"count": 3, "more": False},
        "received": {"count": 1, "more": False},
        "running": {"count": 0, "more": False},
    }


@pytest.mark.django_db
def test_counting_stops_at_a_limit_and_says_so(monkeypatch: pytest.MonkeyPatch, visitor: Client) -> None:
    monkeypatch.setattr("jobs.queue_now.COUNT_LIMIT", 2)
    for number in range(4):
        waiting(number, "scheduled")
    assert frame()["open"]["scheduled"] == {"count": 2, "more": True}
    assert "2</span>+</a>" in visitor.get("/queues/high/").content.decode()


@pytest.mark.django_db
def test_those_that_wait_longest_are_listed_with_what_they_carry(visitor: Client) -> None:
    jobs = [waiting(number) for number in range(22)]
    response = visitor.get("/queues/high/peek/")
    shown = response.context["frame"]["next"]
    assert [job["id"] for job in shown] == [job.pk for job in jobs[:20]]
    assert shown[0]["since"] == (NOW - timedelta(seconds=100)).timestamp()
    assert "order 3" in response.content.decode()
    assert 'href="/queues/high/peek/"' in visitor.get("/queues/high/").content.decode()
    assert visitor.get("/queues/nobody/peek/").status_code == 404


@pytest.mark.django_db
def test_who_may_not_see_what_jobs_carry_sees_that_they_wait_only(client: Client) -> None:
    waiting(1)
    vi = User.objects.create_user("vi")
    group = Group.objects.get(name="viewer")
    group.permissions.remove(group.permissions.get(codename="view_payload"))
    vi.groups.add(group)
    client.force_login(vi)
    said = client.get("/queues/high/peek/").content.decode()
    assert "queued-1"[:8] in said
    assert "order 1" not in said


@pytest.mark.django_db
def test_a_narrow_reach_counts_and_lists_its_own_tasks(client: Client) -> None:
    waiting(1, task="bank.pay")
    waiting(2, "received", task="bank.pay")
    waiting(3)
    vi = User.objects.create_user("vi")
    vi.groups.add(Group.objects.get(name="viewer"))
    Reach.objects.create(user=vi, queues="*", tasks="shop.*")
    client.force_login(vi)
    found = client.get("/queues/high/peek/").context["frame"]["next"]
    assert [job["task"] for job in found] == ["shop.pay"]
    assert client.get("/queues/high/").context["frame"]["open"]["received"]["count"] == 0


@pytest.mark.django_db
def test_slots_busy_are_those_of_its_online_readers() -> None:
    for name, busy in (("a@h", 2), ("b@h", 1)):
        Worker.objects.create(
            producer=name, name=name, queues="high,low", slots=4, busy=busy, seen_at=NOW, online_at=NOW
        )
    assert (frame()["busy"], frame()["slots"]) == (3, 8)
    Worker.objects.create(producer="c", name="c@h", queues="high", seen_at=NOW, online_at=NOW)
    assert (frame()["busy"], frame()["slots"]) == (None, None)


@pytest.mark.django_db
def test_waits_are_read_from_the_buckets_of_each_two_minutes() -> None:
    bucket(0, 8.0, 8.0)
    bucket(5, 1.0)
    trend = frame()["trends"]["wait"]
    assert len(trend) == 30
    assert trend[-1] == pytest.approx(8.0, rel=0.05)
    assert trend[-3] == pytest.approx(1.0, rel=0.05)
    assert trend[-2] is None


@pytest.mark.django_db
def test_no_statement_of_the_pages_walks_through_a_table(client: Client, ops: User) -> None:
    seed(datetime.now(UTC))
    make_large()
    client.force_login(ops)
    for address in ("/queues/", "/queues/high/", "/queues/high/peek/"):
        with CaptureQueriesContext(connection) as captured:
            assert client.get(address).status_code == 200
        asked = [query["sql"] for query in captured.captured_queries if "nightdesk" in query["sql"]]
        assert [sql for sql in asked if is_dear(sql)] == []


def test_where_nothing_is_known_nothing_is_drawn() -> None:
    assert wait_chart([None] * 30, [None] * 30, 5.0, NOW.timestamp()) is None


def test_a_line_is_broken_where_nothing_is_known() -> None:
    drawn = wait_chart([1.0, None, 1.0], [None, 2.0, None], 5.0, NOW.timestamp())
    assert drawn is not None
    assert drawn.wait.count("M") == 2
    assert drawn.target is not None
    assert drawn.rows[0] == ((MINUTE - 1) * 60, 1.0, None)


@given(st.lists(st.none() | st.floats(0, 1e7), min_size=30, max_size=30), st.none() | st.floats(0, 1e6))
def test_whatever_the_waits_are_they_stay_within_the_drawing(
    values: list[float | None], target: float | None
) -> None:
    drawn = wait_chart(values, values[::-1], target, NOW.timestamp())
    if drawn is None:
        assert not any(value is not None for value in values)
        return
    heights = [float(piece.split()[1].split("h")[0]) for piece in drawn.wait.replace("L", "M").split("M")[1:]]
    assert all(0 <= height <= HEIGHT for height in heights)
