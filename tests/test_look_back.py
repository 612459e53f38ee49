"""The system at an earlier minute: what was counted, sampled and heard then, and nothing that came later."""

from __future__ import annotations

import contextlib
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from dashboard import moments
from dashboard.moments import NoMoment
from dashboard.templatetags.past import ground
from jobs import fleet
from jobs.models import Bucket, Cluster, QueueSample, Reach, Worker, WorkerSample
from jobs.past import look_back
from jobs.past_frame import overview_then, queue_then, queues_then, workers_then
from jobs.rollups import Sketches
from jobs.scopes import EVERYTHING
from tests.plans import is_dear, make_large
from tests.seed import seed
from workers.monitor.sample import sample_workers

THEN = datetime(2026, 11, 21, 2, 41, tzinfo=UTC)
MINUTE = int(THEN.timestamp()) // 60
# What the menu of every page has: it does nothing to what is shown.
OF_THE_ACCOUNT = r'(?s)<form method="post" action="/(?:theme|zone|sign-out)/">.*?</form>'
PLACES = ("/", "/queues/", "/queues/high/", "/workers/")


def bucket(minutes_later: int, ended: int, *, failed: int = 0, queue: str = "high") -> None:
    """As the monitor writes: a minute, and its hour."""
    sketches = Sketches()
    for _ in range(ended):
        sketches.at("succeeded", "total").add(2.0)
    for tier in (Bucket.MINUTE, Bucket.HOUR):
        row, _ = Bucket.objects.get_or_create(
            tier=tier, start=(MINUTE + minutes_later) * 60 // tier, task="t", queue=queue
        )
        row.succeeded, row.failed = row.succeeded + ended, row.failed + failed
        row.published, row.started = row.published + ended, row.started + ended
        row.sketches = sketches.dumps()
        row.save()


def sampled(seconds_later: float, depth: int, waits: float = 7.0, queue: str = "high") -> None:
    at = THEN + timedelta(seconds=seconds_later)
    QueueSample.objects.create(queue=queue, at=at, depth=depth, oldest_at=at - timedelta(seconds=waits))


def worker(name: str, online: float, seen: float, offline: float | None = None, **facts: Any) -> Worker:
    """Its times are seconds after THEN."""

    def at(seconds: float) -> datetime:
        return THEN + timedelta(seconds=seconds)

    return Worker.objects.create(
        producer=f"{name}{online}", name=name, online_at=at(online), seen_at=at(seen),
        offline_at=None if offline is None else at(offline), **facts,
    )  # fmt: skip


def then(at: datetime = THEN) -> Any:
    return look_back(Cluster.DEFAULT_ID, at, EVERYTHING)


@pytest.mark.django_db
def test_figures_are_those_of_then_and_nothing_that_came_later_counts() -> None:
    bucket(-70, 100)
    bucket(-1, 10)
    bucket(0, 2, failed=2)
    before = overview_then(then())
    bucket(1, 500, failed=500)
    bucket(90, 500, failed=500)
    assert overview_then(then()) == before
    assert before["figures"]["rate"] == pytest.approx(14 * 3600 / 360, rel=0.001)
    assert before["figures"]["success"] == pytest.approx(112 / 114)
    assert before["figures"]["p95"] == pytest.approx(2.0, rel=0.05)
    assert before["chart"]["finished"][-2:] == [10, 4]


@pytest.mark.django_db
def test_what_was_counted_later_in_the_same_hour_is_not_in_the_success_rate() -> None:
    bucket(-1, 3)
    bucket(10, 0, failed=7)
    assert overview_then(then())["figures"]["success"] == 1.0


@pytest.mark.django_db
def test_a_day_whose_first_minutes_are_forgotten_is_not_summed_up() -> None:
    bucket(-1, 3)
    found = overview_then(look_back(Cluster.DEFAULT_ID, THEN, EVERYTHING, THEN - timedelta(hours=24)))
    assert (found["figures"]["success"], found["figures"]["succeeded"]) == (None, None)
    assert (
        overview_then(look_back(Cluster.DEFAULT_ID, THEN, EVERYTHING, THEN - timedelta(hours=26)))["figures"][
            "success"
        ]
        == 1.0
    )


@pytest.mark.django_db
def test_queues_stand_as_they_were_sampled_then() -> None:
    sampled(50, 40)
    sampled(70, 900)
    row = next(row for row in queues_then(then())["queues"] if row["name"] == "high")
    assert (row["depth"], row["oldest"], row["trend"][-1]) == (40, 7.0, 40)
    assert next(row for row in queues_then(then())["queues"] if row["name"] == "low")["depth"] is None


@pytest.mark.django_db
def test_a_minute_in_which_nobody_looked_is_not_told_by_another() -> None:
    sampled(-300, 40)
    sampled(300, 50)
    frame = queue_then("high", then())
    assert frame is not None
    assert (frame["depth"], frame["oldest"], frame["verdict"]) == (None, None, "unknown")
    assert [row["name"] for row in frame["queues"]] == ["high"]
    assert frame["looked"] is False
    assert overview_then(then())["figures"]["online"] is None


@pytest.mark.django_db
def test_workers_are_those_that_were_there_then() -> None:
    worker("later@h", 120, 9_000)
    worker("left@h", -900, -60, -60)
    worker("leaves@h", -900, 500, 500)
    worker("dies@h", -900, -100)
    worker("lives@h", -900, 90_000)
    found = {row["name"]: row["state"] for row in workers_then(then())["workers"]}
    assert found == {"leaves@h": "online", "dies@h": "dead", "lives@h": "online"}


@pytest.mark.django_db
def test_what_moves_is_shown_as_it_was_kept_and_never_as_it_is_today() -> None:
    one = worker("lives@h", -900, 9_000, busy=3, slots=4, queues="high", processed=900)
    [row] = workers_then(then())["workers"]
    assert (row["busy"], row["slots"], row["queues"], row["processed"]) == (None, None, None, None)
    looked = THEN + timedelta(seconds=3)
    as_then = Worker(pk=one.pk, busy=1, slots=2, queues="high,low", processed=12, load=0.5, seen_at=looked)
    WorkerSample.objects.create(
        at=looked, online=1, known=1, busy=1, slots=2, each=fleet.told([as_then], looked)
    )
    WorkerSample.objects.create(at=THEN + timedelta(seconds=57), online=1, known=1, busy=2, slots=2)
    [row] = workers_then(then())["workers"]
    assert (row["busy"], row["slots"], row["queues"], row["processed"]) == (1, 2, ["high", "low"], 12)
    assert overview_then(then())["figures"]["busy"] == 2


@pytest.mark.django_db
def test_a_worker_that_was_silent_then_is_no_less_so_for_coming_back_since() -> None:
    one, looked = worker("back@h", -900, 9_000), THEN + timedelta(seconds=50)
    silent = Worker(pk=one.pk, seen_at=looked - timedelta(seconds=300))
    WorkerSample.objects.create(at=looked, online=0, known=1, each=fleet.told([silent], looked))
    [row] = workers_then(then())["workers"]
    assert row["state"] == "dead"


@pytest.mark.django_db
def test_that_nobody_read_a_queue_is_said_only_where_it_is_known_who_was_there() -> None:
    sampled(50, 40)
    one = worker("lives@h", -900, 9_000, queues="low")
    assert queue_then("high", then())["verdict"] != "none"  # type: ignore[index]
    looked = THEN + timedelta(seconds=50)
    as_then = Worker(pk=one.pk, queues="low", seen_at=looked)
    WorkerSample.objects.create(at=looked, online=1, known=1, each=fleet.told([as_then], looked))
    assert queue_then("high", then())["verdict"] == "none"  # type: ignore[index]


@pytest.mark.django_db
def test_the_monitor_keeps_how_each_worker_stands() -> None:
    now = datetime.now(UTC)
    one = Worker.objects.create(
        producer="p", name="w@h", seen_at=now, online_at=now, busy=1, slots=4, queues="a"
    )
    sample_workers(now, each=True)
    assert fleet.read(WorkerSample.objects.get().each)[one.pk]["slots"] == 4
    sample_workers(now + timedelta(seconds=5))
    assert WorkerSample.objects.latest("at").each is None


@given(st.text(max_size=60))
def test_whatever_is_asked_for_is_a_moment_or_a_reason(text: str) -> None:
    with contextlib.suppress(NoMoment):
        assert moments.moment(text, THEN, 0) < THEN


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("yesterday", "That is no moment"),
        ("9999-12-31T23:59-23:59", "That is no moment"),
        ("2999-01-01T00:00", "That minute is not over yet"),
        ("1999-01-01T00:00", "The record begins at"),
    ],
)
@pytest.mark.parametrize("place", PLACES)
def test_a_moment_that_can_not_be_shown_says_why(visitor: Client, place: str, text: str, reason: str) -> None:
    seed(timezone.now())
    response = visitor.get(place, {"at": text})
    assert response.status_code == 400
    assert reason in response.content.decode()


@pytest.mark.django_db
def test_before_the_record_there_is_nothing_to_go_back_to(visitor: Client) -> None:
    response = visitor.get("/?at=2026-11-21T02:41")
    assert (response.status_code, b"The record has not begun yet" in response.content) == (400, True)


def an_hour_ago() -> str:
    return moments.field(timezone.now() - timedelta(minutes=30))


@pytest.mark.django_db
@pytest.mark.parametrize("place", PLACES)
def test_an_earlier_page_is_loud_about_it_watches_nothing_and_lets_nobody_act(
    visitor: Client, place: str
) -> None:
    seed(timezone.now())
    said = visitor.get(place, {"at": an_hour_ago()}).content.decode()
    assert re.search(r"The system at .*<time[^>]*>\d\d:\d\d</time> UTC", said)
    assert f'<a href="{place}">Back to live</a>' in said
    assert "data-watch" not in said
    assert not re.search(r"<title>[^<]*&lt;|<title>[^<]*<(?!/title)", said)
    assert "/pause/" not in said
    assert 'method="post"' not in re.sub(OF_THE_ACCOUNT, "", said)
    assert said.count('name="at"') == 1


@pytest.mark.django_db
@pytest.mark.parametrize("place", PLACES)
def test_a_live_page_has_a_way_back_in_time_without_script(visitor: Client, place: str) -> None:
    seed(timezone.now())
    assert f'<form class="at" method="get" action="{place}">' in visitor.get(place).content.decode()


@pytest.mark.django_db
@pytest.mark.parametrize("place", PLACES)
def test_an_earlier_page_is_read_flatly(client: Client, ops: User, place: str) -> None:
    seed(timezone.now())
    make_large()
    client.force_login(ops)
    with CaptureQueriesContext(connection) as captured:
        assert client.get(place, {"at": an_hour_ago()}).status_code == 200
    asked = [query["sql"] for query in captured.captured_queries]
    assert [sql for sql in asked if "nightdesk" in sql and is_dear(sql)] == []
    assert len(asked) <= 15, "\n".join(asked)


@pytest.mark.django_db
def test_a_narrow_reach_stays_narrow_in_the_past(client: Client) -> None:
    seed(timezone.now())
    vi = User.objects.create_user("vi")
    vi.groups.add(Group.objects.get(name="viewer"))
    Reach.objects.create(user=vi, queues="low", tasks="*")
    client.force_login(vi)
    found = client.get("/queues/", {"at": an_hour_ago()}).context["frame"]["queues"]
    assert [row["name"] for row in found] == ["low"]
    assert client.get("/queues/high/", {"at": an_hour_ago()}).status_code == 404


def test_a_chart_says_which_time_lies_under_it_also_where_its_table_begins_later() -> None:
    rows = [(THEN, 3), (THEN - timedelta(hours=1), 1)]
    start = int(THEN.timestamp()) - 23 * 3600
    assert ground(rows, 3600, steps=24) == (
        f'data-drag="/" data-start="{start}" data-step="3600" data-steps="24"'
    )
    assert f'data-start="{start + 22 * 3600}"' in ground(rows, 3600, "/queues/high/")
