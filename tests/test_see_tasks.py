"""The pages of tasks: figures from buckets alone, worst first, as far as a visitor may see."""

from __future__ import annotations

from collections import Counter, defaultdict
from datetime import UTC, datetime
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dashboard import task_charts
from jobs.headlines import Flow
from jobs.models import Bucket, Job, Rule, Standing
from jobs.models.alerts import Kind
from jobs.models.people import Reach
from jobs.piles import Pile
from jobs.rollups import Sketch, Sketches
from jobs.scopes import EVERYTHING
from jobs.task_figures import Whole, at_least, read_bars, read_tasks, within_budget, worst_first
from jobs.task_windows import WINDOWS, Span
from tests.plans import is_dear, make_large
from tests.seed import seed

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 11, 21, 3, 2, 30, tzinfo=UTC)


def a_bucket(
    task: str, queue: str = "high", *, hours_ago: float = 0, good: int = 10, bad: int = 0, run: float = 2.0
) -> None:
    """What ended in one hour, counted in all tiers as ingest does."""
    at, sketches = timezone.now().timestamp() - hours_ago * 3600, Sketches()
    for _ in range(good):
        sketches.at("succeeded", "run").add(run)
        sketches.at("succeeded", "wait").add(run / 10)
    for tier in (Bucket.MINUTE, Bucket.HOUR, Bucket.DAY):
        Bucket.objects.create(
            tier=tier, start=int(at // tier), task=task, queue=queue, succeeded=good, failed=bad,
            published=good + bad, started=good + bad, sketches=sketches.dumps(),
        )  # fmt: skip


def rows_of(visitor: Client, query: str = "") -> list[dict[str, object]]:
    response = visitor.get(f"/tasks/?{query}")
    assert response.status_code == 200
    return list(response.context["frame"]["tasks"])


def test_the_worst_comes_first_and_then_what_does_most(visitor: Client) -> None:
    a_bucket("shop.busy", good=900)
    a_bucket("shop.sick", good=60, bad=40)
    a_bucket("shop.unlucky", good=0, bad=1)
    a_bucket("shop.quiet", good=1)
    assert [row["task"] for row in rows_of(visitor)] == [
        "shop.sick",
        "shop.unlucky",
        "shop.busy",
        "shop.quiet",
    ]


@given(st.integers(0, 10_000), st.integers(0, 10_000))
def test_a_share_is_told_with_less_than_was_seen_and_more_jobs_make_it_surer(failed: int, good: int) -> None:
    low = at_least(failed, failed + good)
    assert 0 <= low <= (failed / (failed + good) if failed + good else 0)
    assert at_least(failed * 10, (failed + good) * 10) >= low


@given(st.lists(st.floats(0.0001, 1e5), max_size=60), st.integers(1, 4))
def test_durations_of_many_buckets_are_those_of_one(seconds: list[float], parts: int) -> None:
    whole, pile, before = Sketch(), Pile("wait", "run"), Sketches()
    before.at("succeeded", "run").add(3.0)
    for value in seconds:
        whole.add(value)
    for part in range(parts):
        sketches = Sketches()
        for number, value in enumerate(seconds[part::parts]):
            sketches.at("failed" if number % 2 else "succeeded", "run").add(value)
            sketches.at("failed", "total").add(value)
        pile.add(sketches.dumps())
    pile.add(before.dumps())
    pile.add(before.dumps(), -1)
    assert (pile.sketch("run"), pile.sketch("wait")) == (whole, Sketch())


def test_figures_are_those_of_the_window(visitor: Client) -> None:
    a_bucket("shop.pay", good=30, bad=10)
    a_bucket("shop.pay", hours_ago=30, good=100)
    [day] = rows_of(visitor, "window=24h")
    assert (day["ended"], day["failed"], day["failing"]) == (40, 10, 0.25)
    assert day["run"]["p95"] == pytest.approx(2.0, rel=0.02)  # type: ignore[index]
    assert day["wait"]["p50"] == pytest.approx(0.2, rel=0.02)  # type: ignore[index]
    [week] = rows_of(visitor, "window=7d")
    assert week["ended"] == 140
    trend: Any = week["trend"]
    assert sum(n or 0 for n in trend["ended"]) == 140
    assert visitor.get("/tasks/?window=never").context["frame"]["window"] == "24h"


def test_a_task_in_very_many_queues_is_counted_whole_and_says_what_is_of_a_part(
    visitor: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("task_figures", "task_frame"):
        monkeypatch.setattr(f"jobs.{module}.MOST_BUCKETS", 3)
    for number in range(5):
        a_bucket("shop.pay", queue=f"q{number}", good=30, bad=10)
    page = visitor.get("/tasks/shop.pay/?window=24h")
    frame = page.context["frame"]
    assert (frame["ended"], len(frame["queues"]), frame["cut"]) == (200, 5, True)
    assert {row["ended"] for row in frame["queues"]} == {40}
    assert "are of a part of its buckets" in page.content.decode()


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    now=st.one_of(
        st.sampled_from([NOW.timestamp(), 1_763_683_200.0, 1_763_683_199.9]),
        st.floats(NOW.timestamp(), NOW.timestamp() + 200_000),
    ),
    window=st.sampled_from(sorted(WINDOWS)),
    ends=st.lists(st.tuples(st.floats(0, 1), st.sampled_from("ab"), st.integers(0, 3)), max_size=40),
)
def test_the_fewest_buckets_say_what_each_step_of_the_window_says(
    now: float, window: str, ends: list[tuple[float, str, int]]
) -> None:
    span, tallies = Span.of(WINDOWS[window], now), Counter[tuple[int, int, str, str]]()
    for part, task, failed in ends:
        # As many before the window as in it, up to two days.
        at = now - part * 2 * (now - span.begin)
        for tier in (60, 3_600, 86_400):
            tallies[tier, int(at // tier), task, "succeeded"] += 1
            tallies[tier, int(at // tier), task, "failed"] += failed
    Bucket.objects.all().delete()
    for tier, start, task in {key[:3] for key in tallies}:
        counts = {name: tallies[tier, start, task, name] for name in ("succeeded", "failed")}
        Bucket.objects.create(tier=tier, start=start, task=task, queue="q", **counts)
    steps: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for (tier, start, task, name), n in tallies.items():
        if tier == span.tier and start in span.steps:
            steps[task][name == "failed"] += n
    found = read_tasks(1, EVERYTHING, span, "")
    assert {told.task: [told.counts.succeeded, told.counts.failed] for told in found} == steps
    bars = read_bars(1, EVERYTHING, list("ab"), span)
    assert {
        task: [sum(told) for told in zip(*of_task.values(), strict=True)]
        for task, of_task in bars.items()
        if task in steps
    } == {task: [good + bad, bad] for task, (good, bad) in steps.items()}


@pytest.mark.parametrize("hour", range(24))
def test_a_window_is_told_by_few_buckets_at_any_time_of_day(hour: int) -> None:
    now = NOW.timestamp() // 86_400 * 86_400 + hour * 3_600 + hour * 120
    for window, most in (("1h", 32), ("24h", 14), ("7d", 20)):
        span = Span.of(WINDOWS[window], now)
        for tier in (60, 3_600, 86_400):
            running = int(now // tier)
            Bucket.objects.bulk_create(
                Bucket(tier=tier, start=running - back, task="a", queue="q") for back in range(200)
            )
        assert Bucket.objects.filter(span.of_all().rows).count() <= most
        Bucket.objects.all().delete()


def test_tasks_are_shown_by_the_page(visitor: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobs.task_frame.SHOWN", 2)
    for number in range(5):
        a_bucket(f"shop.t{number}", good=10 + number)
    pages = [[row["task"] for row in rows_of(visitor, f"search=shop&page={page}")] for page in (1, 2, 3)]
    assert pages == [["shop.t4", "shop.t3"], ["shop.t2", "shop.t1"], ["shop.t0"]]
    middle = visitor.get("/tasks/?search=shop&page=2&window=7d").content.decode()
    assert "3 to 4 of 5 tasks" in middle
    assert "?window=7d&amp;search=shop&amp;page=1" in middle
    assert "?window=7d&amp;search=shop&amp;page=3" in middle
    assert b"No more tasks" in visitor.get("/tasks/?page=9").content


def test_what_is_looked_for_by_name_is_all_that_is_listed(visitor: Client) -> None:
    a_bucket("shop.pay")
    a_bucket("crm.PAYROLL")
    a_bucket("crm.sync")
    assert {row["task"] for row in rows_of(visitor, "search=pay")} == {"shop.pay", "crm.PAYROLL"}
    assert b"No task matches" in visitor.get("/tasks/?search=%25").content


def test_each_task_has_a_page_whatever_it_is_called(visitor: Client) -> None:
    for name in ("shop.tasks.pay", "a/b c", "..", "ünïcode & <b>", "x" * 255):
        a_bucket(name)
        address = reverse("task", args=[name])
        assert f'href="{address}?window=24h"' in visitor.get("/tasks/").content.decode()
        shown = visitor.get(address)
        assert (shown.status_code, shown.context["name"]) == (200, name)
        assert b"<b></" not in shown.content
    assert visitor.get("/tasks/nobody.knows/").status_code == 404


def a_job(number: int, state: str, release: str, run: float) -> None:
    job = Job.objects.create(
        task_id=f"job-{number}", task="shop.pay", queue="high", state=state, release=release, run=run,
        worker=f"w{number % 2}@h", seen_at=timezone.now(), ended_at=timezone.now(), exception="KeyError: 1",
    )  # fmt: skip
    if state == "failed":
        Standing.objects.create(job=job, state=state, task=job.task, queue=job.queue)


def test_a_task_shows_what_changed_with_a_release_and_who_ran_it(visitor: Client) -> None:
    a_bucket("shop.pay", bad=5)
    for number in range(10):
        a_job(number, "succeeded", "old", 1.0)
    for number in range(10, 20):
        a_job(number, "failed" if number % 2 else "succeeded", "new", 3.0)
    frame = visitor.get("/tasks/shop.pay/").context["frame"]
    told = [(row["release"], row["jobs"], row["failing"], row["p50"]) for row in frame["releases"]]
    assert told == [("new", 10, 0.5, 3.0), ("old", 10, 0.0, 1.0)]
    assert [(row["name"], row["jobs"], row["failed"]) for row in frame["workers"]] == [
        ("w0@h", 10, 0),
        ("w1@h", 10, 5),
    ]
    assert [job.task_id for job in frame["failures"]] == [f"job-{n}" for n in (19, 17, 15, 13, 11)]
    assert [(row["queue"], row["ended"]) for row in frame["queues"]] == [("high", 15)]


def test_a_task_names_what_sends_it_and_what_watches_it(visitor: Client) -> None:
    seed(timezone.now())
    Rule.objects.all().delete()
    for name, tasks in (("of all", "*"), ("of its kind", "workers.demo.*"), ("of others", "crm.*")):
        Rule.objects.create(name=name, kind=Kind.FAILURE_SHARE, tasks=tasks)
    shown = visitor.get("/tasks/workers.demo.tasks.sync_product/").content.decode()
    assert "sync-catalogue" in shown
    assert "of its kind" in shown
    assert "of all" in shown
    assert "of others" not in shown
    assert "/run/?task=workers.demo.tasks.sync_product" in shown


def test_one_sees_no_more_than_one_may(client: Client) -> None:
    a_bucket("shop.pay", "high", bad=3)
    a_bucket("shop.pay", "secret", good=500)
    a_bucket("shop.hidden", "secret")
    narrow = User.objects.create_user("nia")
    narrow.groups.add(Group.objects.get(name="viewer"))
    Reach.objects.create(user=narrow, queues="high")
    client.force_login(narrow)
    [row] = rows_of(client)
    assert (row["task"], row["ended"], row["queues"]) == ("shop.pay", 13, ["high"])
    assert client.get("/tasks/shop.pay/").context["frame"]["ended"] == 13
    assert client.get("/tasks/shop.hidden/").status_code == 404


def statements(visitor: Client, address: str) -> list[str]:
    visitor.get(address)
    with CaptureQueriesContext(connection) as captured:
        assert visitor.get(address).status_code == 200
    return [query["sql"] for query in captured.captured_queries]


@pytest.mark.parametrize(
    "address", ["/tasks/", "/tasks/?window=7d", "/tasks/task-3/", "/tasks/task-3/?window=7d"]
)
def test_a_page_asks_at_most_fifteen_times_and_never_walks(visitor: Client, address: str) -> None:
    seed(timezone.now())
    make_large()
    for number in range(60):
        a_bucket(f"task-{number}", f"queue-{number % 3}", bad=number)
    asked = statements(visitor, address)
    assert len(asked) <= 15
    of_jobs = [sql for sql in asked if "nightdesk_jobs_job" in sql or "nightdesk_jobs_standing" in sql]
    assert [sql for sql in of_jobs if is_dear(sql)] == []
    assert not any("COUNT" in sql and '"nightdesk_jobs_job"' in sql for sql in asked)


def test_what_a_page_reads_of_durations_is_bounded() -> None:
    tasks = [Whole(f"t{n}", Flow(failed=n, succeeded=50), 400) for n in range(40)]
    ranked = worst_first(tasks)
    assert [told.task for told in ranked[:2]] == ["t39", "t38"]
    assert within_budget(ranked, 1_000) == ["t39", "t38"]


def test_only_what_failed_is_red_and_what_is_not_known_is_nothing() -> None:
    drawn = task_charts.trend({"ended": [None, 0, 10], "failed": [None, 0, 1]})
    assert drawn.ended == "M4 18h3v-1h-3zM8 18h3v-17h-3z"
    assert drawn.failed == "M8 18h3v-2h-3z"
    chart = task_charts.chart({"start": 0, "step": 3600, "ended": [None, 0, 10], "failed": [None, 0, 1]})
    assert chart is not None
    assert [row[1:] for row in chart.rows] == [(10, 1), (0, 0), (None, None)]
    assert task_charts.chart({"start": 0, "step": 60, "ended": [None], "failed": [None]}) is None


def test_an_empty_record_says_how_tasks_come_to_be_listed(visitor: Client) -> None:
    assert b"No task yet" in visitor.get("/tasks/").content
    a_bucket("shop.pay", hours_ago=50)
    assert b"Nothing in this time" in visitor.get("/tasks/?window=1h").content
