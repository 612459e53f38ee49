"""Workflows: jobs that belong together, from Celery's own canvases on real workers."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from celery import chain, chord, group
from django.contrib.auth.models import Group, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from hypothesis import given
from hypothesis import strategies as st

from dashboard import workflow_charts
from jobs import workflow_reading, workflows
from jobs.models import Bulk, Job, Outgoing
from jobs.models.people import Reach
from jobs.scopes import EVERYTHING
from jobs.workflow_reading import Part, keys_of
from jobs.workflows import Member, Row
from tests import tasks
from tests.harness import Installation, eventually
from tests.plans import is_dear, make_large
from tests.seed import seed
from tests.working import worker

NOW = datetime(2026, 11, 21, 3, 2, 30, tzinfo=UTC)


def a_member(number: int, **facts: Any) -> Member:
    known = {
        "id": number, "task_id": f"job-{number}", "task": "shop.pay", "queue": "high", "state": "succeeded",
        "verdict": None, "root": None, "parent": None, "group": None, "retry_of": None,
        "published": NOW + timedelta(seconds=number), "started": NOW + timedelta(seconds=number + 1),
        "ended": NOW + timedelta(seconds=number + 3),
    }  # fmt: skip
    return Member(**{**known, **facts})


def told(rows: list[Row]) -> list[tuple[int, str | None, int]]:
    return [(row.depth, row.first.task, row.count) for row in rows]


def test_what_follows_stands_below_what_it_follows() -> None:
    members = [
        a_member(2, parent="job-1", task="b"),
        a_member(1, task="a"),
        a_member(3, parent="job-2", task="c"),
    ]
    assert told(workflows.rows(members)) == [(0, "a", 1), (1, "b", 1), (2, "c", 1)]


def test_a_large_group_is_one_row_and_so_is_what_follows_each_of_its_members() -> None:
    first = a_member(0, task="begin")
    ones = [a_member(n, parent="job-0", group="g", task="one") for n in range(1, 10_001)]
    twos = [a_member(n + 20_000, parent=f"job-{n}", task="two") for n in range(1, 10_001)]
    body = a_member(50_000, parent="job-7", task="body", state="failed")
    rows = workflows.rows([body, *twos, *ones, first])
    assert told(rows) == [(0, "begin", 1), (1, "one", 10_000), (2, "two", 10_000), (2, "body", 1)]
    assert [row.under for row in rows] == [None, 0, 1, 1]


def test_many_are_told_by_what_became_of_them() -> None:
    states = ["succeeded"] * 184 + ["failed"] * 3 + ["running"] * 13
    [row] = workflows.rows([a_member(n, state=state, group="g") for n, state in enumerate(states)])
    assert workflow_charts.told(row) == "184/200 ok, 3 failed, 13 open"
    assert row.state == "failed"


def test_an_end_that_is_not_known_is_no_end_now() -> None:
    begun, lost = (
        a_member(1, state="running", ended=None),
        a_member(2, state="revoked", started=None, ended=None),
    )
    running, stopped = workflows.rows([begun, lost])
    assert (running.open, stopped.open, stopped.ended) == (True, False, None)
    bars = workflow_charts.bars([running, stopped], NOW.timestamp() + 101)
    assert bars[0].ran == ("1.00%", "99.00%")
    assert (bars[1].waited, bars[1].ran) == (("1.00%", "0.60%"), None)


def test_a_second_life_stands_below_the_first_and_mends_it() -> None:
    members = [
        a_member(1, state="failed"),
        a_member(2, state="failed", retry_of="job-1"),
        a_member(3, retry_of="job-2"),
    ]
    assert [row.depth for row in workflows.rows(members)] == [0, 1, 2]
    assert workflows.mended(members) == {"job-1", "job-2"}
    assert workflows.mended(members[:2]) == set()


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 1), st.booleans()), max_size=40))
def test_every_job_is_in_one_row_whatever_it_claims_to_follow(claims: list[tuple[int, int, bool]]) -> None:
    members = [
        a_member(n, parent=f"job-{parent}", task=f"t{task}", group="g" if grouped else None)
        for n, (parent, task, grouped) in enumerate(claims)
    ]
    rows = workflows.rows(members)
    assert Counter(one.id for row in rows for one in row.members) == Counter(range(len(members)))
    for row in rows:
        assert row.under is None or (rows[row.under].depth == row.depth - 1 and row.under < row.place)
    workflow_charts.graph(rows, ["?"] * len(rows))
    workflow_charts.bars(rows, NOW.timestamp())


def test_the_body_of_a_chord_is_listed_with_its_group() -> None:
    parts = [
        Part(4, "body", "total", "q", "h2", None, "succeeded", None, None),
        Part(3, "h2", "add", "q", "h2", "G", "succeeded", None, None),
        Part(2, "h1", "add", "q", "h1", "G", "succeeded", None, None),
        Part(1, "next", "add", "q", "first", None, "succeeded", None, None),
    ]
    assert {key: [part.id for part in of] for key, of in keys_of(parts).items()} == {
        "G": [4, 3, 2],
        "first": [1],
    }


# Real canvases


@pytest.fixture
def allowed(tmp_path: Path) -> Path:
    return tmp_path / "allowed"


def canvases(allowed: Path) -> dict[str, Any]:
    add, fail = tasks.add, tasks.add_once_allowed.s(2, str(allowed))
    return {
        "chain": chain(add.s(1, 1), fail, add.s(3)),
        "group": group(*(add.s(n, n) for n in range(8)), tasks.fail_with.s("currency")),
        "chord": chord([add.s(n, n) for n in range(7)], tasks.total.s()),
        "nested": chain(add.s(1, 1), group(add.s(n) for n in range(6)), tasks.total.s(), add.s(4)),
    }


@pytest.mark.slow
def test_celerys_canvases_are_shown_as_they_ran(
    installation: Installation, visitor: Client, ops: User, allowed: Path
) -> None:
    installation.monitor()
    worker(installation, slots=2)
    sent = {name: canvas.apply_async() for name, canvas in canvases(allowed).items()}
    eventually(lambda: Job.objects.filter(state__in=("succeeded", "failed")).count() == 28, 60)

    shown = {name: opened(visitor, result) for name, result in sent.items()}
    assert shape(shown["chain"]) == [(0, "add", 1, "succeeded"), (1, "add_once_allowed", 1, "failed")]
    assert shape(shown["group"]) == [(0, "add", 8, "succeeded"), (0, "fail_with", 1, "failed")]
    assert shape(shown["chord"]) == [(0, "add", 7, "succeeded"), (1, "total", 1, "succeeded")]
    assert shape(shown["nested"]) == [
        (0, "add", 1, "succeeded"), (1, "add", 6, "succeeded"),
        (2, "total", 1, "succeeded"), (3, "add", 1, "succeeded"),
    ]  # fmt: skip
    listed = visitor.get("/workflows/").context["rows"]
    assert {row["of"].id for row in listed} == {page.context["key"] for page in shown.values()}
    assert sorted(sum(row["of"].states.values()) for row in listed) == [2, 8, 9, 9]

    # A retry of what failed is a part of it, and runs what follows in the chain.
    allowed.touch()
    key = shown["chain"].context["key"]
    asked = visitor.post(f"/workflows/{key}/retry/", {"once": "a-key-of-this-test"})
    bulk = Bulk.objects.get()
    assert (asked["Location"], bulk.total, bulk.eligible) == (f"/bulk/{bulk.pk}/", 1, 1)
    visitor.post(f"/bulk/{bulk.pk}/start/", {"once": "another-key-of-it", "rate": "50", "stop_share": "0.5"})
    eventually(lambda: len(shape(visitor.get(f"/workflows/{key}/"))) == 4, 60)
    eventually(lambda: visitor.get(f"/workflows/{key}/").context["state"] == "succeeded", 60)
    assert visitor.get(f"/workflows/{key}/").context["failed"] == 0


def opened(visitor: Client, result: Any) -> Any:
    """The page to which a job of the workflow links."""
    some = result.results[0] if hasattr(result, "results") else result
    job = Job.objects.filter(task_id=some.id).first() or Job.objects.get(task_id=result.parent.id)
    page = visitor.get(
        f"/workflows/{workflow_reading.whole_of(job.task_id, job.root_id, job.group_id)}/", follow=True
    )
    assert page.status_code == 200
    return page


def shape(page: Any) -> list[tuple[int, str, int, str]]:
    rows = [each["row"] for each in page.context["rows"]]
    return [(row.depth, row.first.task.rpartition(".")[2], row.count, row.state) for row in rows]


# Pages


def a_job(task_id: str, **facts: Any) -> Job:
    known = {"task": "shop.pay", "queue": "high", "state": "succeeded", "seen_at": NOW, "published_at": NOW}
    return Job.objects.create(task_id=task_id, **{**known, "root_id": task_id, **facts})


def a_large_group(members: int) -> None:
    Job.objects.bulk_create(
        Job(
            task_id=f"m-{n}", root_id=f"m-{n}", group_id="G", task="shop.pay", queue="high", seen_at=NOW,
            state="failed" if n < 3 else "succeeded", published_at=NOW, ended_at=NOW,
        )
        for n in range(members)
    )  # fmt: skip
    a_job("body", root_id="m-5", parent_id="m-5", task="shop.total")


@pytest.mark.django_db
@pytest.mark.parametrize("address", ["/workflows/", "/workflows/G/", "/workflows/begin/"])
def test_a_page_asks_at_most_fifteen_times_and_never_walks(visitor: Client, address: str) -> None:
    seed(NOW)
    make_large()
    a_large_group(900)
    a_job("begin", task="shop.begin")
    a_job("next", root_id="begin", parent_id="begin", state="failed")
    visitor.get(address)
    with CaptureQueriesContext(connection) as captured:
        page = visitor.get(address)
    assert page.status_code == 200
    asked = [query["sql"] for query in captured.captured_queries]
    assert len(asked) <= 15
    assert [sql for sql in asked if "nightdesk_jobs_job" in sql and is_dear(sql)] == []


@pytest.mark.django_db
def test_a_group_of_ten_thousand_stays_one_row(visitor: Client) -> None:
    a_large_group(workflow_reading.MOST_MEMBERS - 1)
    page = visitor.get("/workflows/G/")
    assert shape(page) == [(0, "pay", 9_999, "failed"), (1, "total", 1, "succeeded")]
    assert len(page.content) < 60_000
    [row] = visitor.get("/workflows/").context["rows"]
    assert row["of"].states == {"succeeded": 9_997, "failed": 3}, "its body, too"


@pytest.mark.django_db
def test_a_part_leads_to_the_whole_and_a_job_to_its_workflow(visitor: Client) -> None:
    a_job("begin")
    a_job("next", root_id="begin", parent_id="begin", group_id="G")
    a_large_group(3)
    assert visitor.get("/workflows/next/")["Location"] == "/workflows/begin/"
    assert visitor.get("/workflows/m-1/")["Location"] == "/workflows/G/"
    assert 'href="/workflows/begin/"' in visitor.get("/jobs/next/").content.decode()
    assert "/workflows/begin/" not in visitor.get("/jobs/begin/").content.decode()
    assert visitor.get("/workflows/nobody/").status_code == 404


@pytest.mark.django_db
def test_of_a_job_and_its_retries_the_last_that_failed_is_retried(visitor: Client) -> None:
    a_job("R")
    a_job("A", root_id="R", parent_id="R", state="failed")
    a_job("A2", root_id="A2", retry_of="A", state="failed")
    page = visitor.get("/workflows/R/")
    assert page.context["failed"] == 1
    found = workflow_reading.read("R", 1, EVERYTHING)
    assert found is not None
    assert workflow_reading.failed_of(found.members, workflows.mended(found.members)) == ["A2"]
    a_job("A3", root_id="A3", retry_of="A2")
    page = visitor.get("/workflows/R/")
    assert (page.context["failed"], page.context["state"]) == (0, "succeeded")


@pytest.mark.django_db
def test_jobs_that_claim_to_be_parts_of_each_other_are_shown_all_the_same(visitor: Client) -> None:
    a_job("X", root_id="Y", parent_id="Y")
    a_job("Y", root_id="X", parent_id="X")
    a_job("Z", root_id="odd", group_id="odd")
    assert {visitor.get(f"/workflows/{key}/").status_code for key in ("X", "Y", "odd")} == {200}


@pytest.mark.django_db
def test_one_sees_no_more_of_a_workflow_than_one_may(client: Client) -> None:
    a_job("begin", queue="secret", task="shop.hidden")
    a_job("next", root_id="begin", parent_id="begin")
    a_job("apart", queue="secret", root_id="other", parent_id="other", task="shop.hidden")
    narrow = User.objects.create_user("nia")
    narrow.groups.add(Group.objects.get(name="viewer"))
    Reach.objects.create(user=narrow, queues="high")
    client.force_login(narrow)
    assert [row["of"].id for row in client.get("/workflows/").context["rows"]] == ["begin"]
    page = client.get("/workflows/begin/")
    assert [each["row"].first.task_id for each in page.context["rows"]] == ["next"]
    assert b"shop.hidden" not in page.content
    assert client.get("/workflows/other/").status_code == 404


@pytest.mark.django_db
def test_what_a_job_is_called_is_text(visitor: Client) -> None:
    a_job("a", task="<script>x</script>")
    a_job("<b>", root_id="a", parent_id="a", task="<img src=x>" * 20)
    for page in (visitor.get("/workflows/"), visitor.get("/workflows/a/")):
        assert b"<img src=x>" not in page.content
        assert b"<script>x" not in page.content


@pytest.mark.django_db
def test_nothing_is_asked_of_a_workflow_that_has_not_failed(visitor: Client) -> None:
    a_job("a")
    a_job("b", root_id="a", parent_id="a")
    assert visitor.post("/workflows/a/retry/", {"once": "a-key-of-this-test"}).status_code == 409
    assert not Outgoing.objects.exists()
    assert not Bulk.objects.exists()


@pytest.mark.django_db
def test_an_empty_record_says_what_a_workflow_is(visitor: Client) -> None:
    assert b"No workflow yet" in visitor.get("/workflows/").content
    assert workflow_reading.latest(1, EVERYTHING, None).workflows == []
