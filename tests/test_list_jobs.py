"""The list of jobs: filters, pages, and a cost that does not grow."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.test import Client
from django.utils import timezone

from jobs import search
from jobs.models import Bucket, Cluster, Job, Standing
from jobs.search import Query

Statements = Callable[[int], Any]
STATES = ["succeeded", "failed", "queued", "succeeded", "retrying"]


def make(count: int, **facts: Any) -> list[Job]:
    """Jobs as the monitor writes them: what did not succeed has a standing."""
    before = Job.objects.count()
    made = Job.objects.bulk_create(
        Job(
            task_id=f"job-{before + number}",
            seen_at=timezone.now(),
            **{"state": "succeeded", "task": "t", "queue": "high", **facts},
        )
        for number in range(count)
    )
    Standing.objects.bulk_create(
        Standing(job=job, state=job.state, task=job.task, queue=job.queue)
        for job in made
        if job.state != "succeeded"
    )
    return made


def ids(page: search.Page) -> list[str]:
    return [job.task_id for job in page.jobs]


def test_the_newest_job_comes_first(ops: User) -> None:
    make(3)
    assert ids(search.find(Query(), ops)) == ["job-2", "job-1", "job-0"]


def test_pages_lead_back_and_forth_without_missing_or_repeating_a_job(ops: User) -> None:
    make(120)
    first = search.find(Query(), ops)
    second = search.find(Query(before=first.older), ops)
    third = search.find(Query(before=second.older), ops)
    assert [len(page.jobs) for page in (first, second, third)] == [50, 50, 20]
    assert ids(first) + ids(second) + ids(third) == [f"job-{number}" for number in range(119, -1, -1)]
    assert (first.newer, third.older) == (None, None)
    assert ids(search.find(Query(after=third.newer), ops)) == ids(second)
    assert ids(search.find(Query(after=second.newer), ops)) == ids(first)


def test_a_page_after_which_little_is_new_is_the_first_page(ops: User) -> None:
    made = make(60)
    page = search.find(Query(after=made[55].pk), ops)
    assert ids(page)[0] == "job-59"
    assert len(page.jobs) == 50
    assert page.newer is None


@pytest.mark.parametrize("state", ["succeeded", "failed", "queued", "retrying"])
def test_a_state_shows_its_own_jobs_alone(ops: User, state: str) -> None:
    for each in STATES:
        make(1, state=each)
    found = search.find(Query(state=state), ops)
    assert {job.state for job in found.jobs} == {state}
    assert found.count == len(found.jobs) == STATES.count(state)


def test_filters_hold_together(ops: User) -> None:
    make(2, task="a", queue="high", state="failed")
    wanted = make(1, task="a", queue="low", state="failed")
    make(1, task="b", queue="low", state="failed")
    make(1, task="a", queue="low", state="queued")
    found = search.find(Query(task="a", queue="low", state="failed"), ops)
    assert found.jobs == wanted
    assert search.find(Query(task="a", queue="low"), ops).count == 2
    assert search.find(Query(task="a"), ops).count == 4
    assert search.find(Query(queue="low", state="failed"), ops).count == 2


def test_nobody_in_particular_sees_nothing(db: None) -> None:
    make(2, state="failed")
    assert search.find(Query(), AnonymousUser()).jobs == []
    assert search.find(Query(state="failed"), AnonymousUser()).jobs == []


def test_other_clusters_are_listed_apart(ops: User) -> None:
    make(1)
    other = Cluster.objects.create(name="other")
    make(1, cluster=other)
    assert ids(search.find(Query(), ops)) == ["job-0"]
    assert ids(search.find(Query(cluster_id=other.pk), ops)) == ["job-1"]


def test_counting_stops_at_ten_thousand(ops: User) -> None:
    make(10_000)
    page = search.find(Query(), ops)
    assert (page.count, page.more) == (10_000, False)
    make(1)
    page = search.find(Query(), ops)
    assert (page.count, page.more) == (10_000, True)


def test_a_rare_match_is_looked_for_in_a_window_at_a_time(ops: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "WINDOW", 100)
    make(1, task="t", queue="rare")
    make(150, task="t", queue="high")
    page = search.find(Query(task="t", queue="rare"), ops)
    assert (page.jobs, page.count, page.more) == ([], 0, True)
    assert page.older is not None, "there is more to look through"
    further = search.find(Query(task="t", queue="rare", before=page.older), ops)
    assert ids(further) == ["job-0"]
    assert further.older is None


@pytest.mark.parametrize(
    "query",
    [
        Query(),
        Query(state="failed"),
        Query(state="succeeded", task="t", queue="high"),
        Query(state="failed", task="t", queue="high"),
    ],
)
def test_a_page_costs_the_same_at_any_size(
    ops: User, query: Query, django_assert_max_num_queries: Statements
) -> None:
    make(60, state="failed")
    make(60)
    with django_assert_max_num_queries(5):
        search.find(query, ops)


def test_the_list_shows_the_jobs_and_what_to_filter_by(client: Client, ops: User) -> None:
    make(1, task="shop.tasks.sync", queue="low", state="failed")
    hour = int(timezone.now().timestamp() // 3600)
    Bucket.objects.create(tier=3600, start=hour, task="shop.tasks.sync", queue="low")
    client.force_login(ops)
    page = client.get("/jobs/").content.decode()
    assert "/jobs/job-0/" in page
    assert '<option value="shop.tasks.sync">' in page
    assert '<option value="low">' in page
    assert '<option value="failed">' in page


def test_htmx_gets_the_very_table_that_the_page_includes(client: Client, ops: User) -> None:
    make(60)
    client.force_login(ops)
    page = client.get("/jobs/?state=succeeded")
    table = client.get("/jobs/?state=succeeded", headers={"HX-Request": "true"})
    assert _without_tokens(table.content.decode().strip()) in _without_tokens(page.content.decode())
    assert b"<html" not in table.content
    assert "HX-Request" in table["Vary"]


def _without_tokens(page: str) -> str:
    """Without what is different each time a form is made."""
    return re.sub(r'(name="(?:csrfmiddlewaretoken|once)" value=)"[^"]*"', r'\1""', page)


def test_pages_keep_the_filters(client: Client, ops: User) -> None:
    make(120, queue="low", state="failed")
    client.force_login(ops)
    listing = client.get("/jobs/?state=failed&queue=low").context["page"]
    assert listing.next == f"state=failed&queue=low&before={listing.jobs[-1].pk}"
    further = client.get(f"/jobs/?{listing.next}").context["page"]
    assert further.previous == f"state=failed&queue=low&after={further.jobs[0].pk}"
    assert listing.count == "120 jobs"


def test_a_capped_count_says_so(client: Client, ops: User) -> None:
    make(10_001)
    client.force_login(ops)
    assert client.get("/jobs/").context["page"].count == "10,000+ jobs"


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("state=sleeping", "There is no state “sleeping”."),
        ("before=x", "The page to show can"),
        ("before=-1", "The page to show can"),
        ("after=99999999999999999999", "The page to show can"),
        ("task=%00", "Null characters are not allowed."),
        ("queue=" + "q" * 300, "at most 255 characters"),
    ],
)
def test_a_question_that_cannot_be_read_is_answered_clearly(
    client: Client, ops: User, question: str, answer: str
) -> None:
    client.force_login(ops)
    response = client.get(f"/jobs/?{question}")
    assert response.status_code == 400
    assert answer in response.content.decode()


def test_a_task_that_nobody_knows_matches_nothing(client: Client, ops: User) -> None:
    make(1)
    client.force_login(ops)
    response = client.get("/jobs/?task=nobody.knows")
    assert response.status_code == 200
    assert response.context["page"].jobs == []
    assert "nobody.knows" in response.content.decode()


def test_a_cluster_that_is_not_there_is_not_found(client: Client, ops: User) -> None:
    client.force_login(ops)
    assert client.get("/jobs/?cluster=nowhere").status_code == 404
