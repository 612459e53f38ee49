"""Jobs of a span, by the time of their publish: on pages, through the API, on the command line, in bulk."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import product
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from jobs import search
from jobs.models import Bulk, Cluster, Error, ErrorJob, Job, Reach, Standing
from jobs.perform import Actor, perform
from jobs.search import Query
from jobs.store.arrivals import first_after, first_since
from tests.api import token_of
from tests.plans import is_dear, make_large
from workers.commands.bulk import BulkPreview

T0 = datetime(2026, 11, 21, 2, 0, tzinfo=UTC)


def minute(number: float) -> datetime:
    return T0 + timedelta(minutes=number)


def made(published: list[float | None], **facts: Any) -> list[Job]:
    """Jobs in the order in which the record heard of them, published in these minutes."""
    before = Job.objects.count()
    jobs = Job.objects.bulk_create(
        Job(
            task_id=f"job-{before + place}",
            published_at=None if at is None else minute(at),
            **{
                "seen_at": minute(10_000 if at is None else at + 1),
                "state": "succeeded",
                "task": "t",
                "queue": "high",
                **facts,
            },
        )
        for place, at in enumerate(published)
    )
    Standing.objects.bulk_create(
        Standing(job=job, state=job.state, task=job.task, queue=job.queue)
        for job in jobs
        if job.state != "succeeded"
    )
    return jobs


def found(user: User, **asked: Any) -> list[str]:
    return [job.task_id for job in search.find(Query(**asked), user).jobs]


def on_all_pages(user: User, **asked: Any) -> list[str]:
    page = search.find(Query(**asked), user)
    jobs = [job.task_id for job in page.jobs]
    return jobs if page.older is None else jobs + on_all_pages(user, **{**asked, "before": page.older})


def test_a_span_holds_what_was_published_from_its_beginning_to_before_its_end(ops: User) -> None:
    made([0, 1, 2, 3, 4])
    assert found(ops, since=minute(1), until=minute(3)) == ["job-2", "job-1"]
    assert found(ops, since=minute(3)) == ["job-4", "job-3"]
    assert found(ops, until=minute(1)) == ["job-0"]
    assert found(ops, since=minute(5)) == []


@pytest.mark.parametrize(("first", "apart"), [(5_000, 1), (1, 5_000), (10**12, 300)])
def test_numbers_that_begin_late_or_have_gaps_hide_no_job(ops: User, first: int, apart: int) -> None:
    """Others between them are forgotten."""
    Job.objects.bulk_create(
        Job(
            pk=first + apart * n,
            task_id=f"job-{n}",
            state="succeeded",
            published_at=minute(n),
            seen_at=minute(n),
        )
        for n in range(40)
    )
    for n in range(40):
        assert found(ops, since=minute(n), until=minute(n + 1)) == [f"job-{n}"]
    assert found(ops, until=minute(1)) == ["job-0"]
    assert found(ops, since=minute(39)) == ["job-39"]


def test_jobs_that_overtook_each_other_are_each_judged_by_their_own_time(ops: User) -> None:
    made([0, 5, 1, 6, 2, 7])
    assert found(ops, since=minute(5)) == ["job-5", "job-3", "job-1"]


def test_a_publish_that_nobody_told_of_is_as_old_as_its_receipt(ops: User) -> None:
    made([0, None, None, 3])
    Job.objects.filter(task_id="job-1").update(received_at=minute(1))
    assert found(ops, since=minute(1), until=minute(2)) == ["job-1"]


def test_clocks_that_are_wrong_mislead_nobody(ops: User) -> None:
    made([-50_000_000 if place % 5 == 2 else place / 10 for place in range(3_000)])
    jobs = search.find(Query(since=minute(150), until=minute(151)), ops).jobs
    assert [job.task_id for job in jobs] == [
        f"job-{place}" for place in range(1_509, 1_499, -1) if place % 5 != 2
    ]


def test_a_run_of_jobs_that_were_told_late_hides_none_of_a_span(ops: User) -> None:
    made([place / 100 for place in range(6_000)])
    made([-200 + place / 100 for place in range(9_000)], received_at=minute(60), seen_at=minute(61))
    made([60 + place / 100 for place in range(6_000)])
    for at, first in ((30, 3_000), (57, 5_700), (60, 15_000), (90, 18_000)):
        jobs = {f"job-{place}" for place in range(first, first + 10)}
        assert set(on_all_pages(ops, since=minute(at), until=minute(at + 0.095))) == jobs, at


def test_jobs_that_waited_long_for_their_receipt_are_found_by_their_publish(ops: User) -> None:
    made([place / 100 for place in range(9_000)])
    late = list(Job.objects.order_by("pk").values_list("pk", flat=True)[1_000:8_500])
    Job.objects.filter(pk__range=(late[0], late[-1])).update(received_at=minute(300), seen_at=minute(301))
    for at in (5, 30, 57, 88):
        assert len(found(ops, since=minute(at), until=minute(at + 0.095))) == 10, at


@pytest.mark.parametrize("state", ["succeeded", "failed"])
def test_a_span_holds_together_with_other_filters(ops: User, state: str) -> None:
    made([0, 1], task="a", state=state)
    made([1, 2, 3], task="b", state=state)
    assert found(ops, since=minute(1), until=minute(3), state=state, task="b") == ["job-3", "job-2"]
    assert found(ops, since=minute(1), state=state, task="a", queue="high") == ["job-1"]


def test_a_span_of_one_error(ops: User) -> None:
    jobs = made([0, 1, 2], state="failed")
    error = Error.objects.create(fingerprint="f", task="t", queue="high", first_at=T0, last_at=T0)
    ErrorJob.objects.bulk_create(ErrorJob(job=job, error=error, at=T0) for job in jobs)
    assert found(ops, error=error.pk, since=minute(1)) == ["job-2", "job-1"]


def test_pages_of_a_span_lead_back_and_forth_within_it(ops: User) -> None:
    made([place / 60 for place in range(400)])
    query = Query(since=minute(1), until=minute(5))
    first = search.find(query, ops)
    assert (first.count, first.more, first.newer) == (240, False, None)
    seen, place = [], first
    while True:
        seen += [job.task_id for job in place.jobs]
        if place.older is None:
            break
        place = search.find(replace(query, before=place.older), ops)
    assert seen == [f"job-{number}" for number in range(299, 59, -1)]


def test_other_clusters_do_not_move_the_ends(ops: User) -> None:
    made([0, 1])
    other = Cluster.objects.create(name="other")
    made([50] * 40, cluster=other)
    made([2, 3])
    assert found(ops, since=minute(1), until=minute(3)) == ["job-42", "job-1"]


def test_a_narrow_reach_sees_its_own_part_of_a_span(db: None) -> None:
    made([0, 1, 2], queue="high")
    made([1, 2], queue="low")
    vi = User.objects.create_user("vi")
    vi.groups.add(Group.objects.get(name="viewer"))
    Reach.objects.create(user=vi, queues="low", tasks="*")
    assert found(vi, since=minute(1), until=minute(2)) == ["job-3"]


class FirstSince(TestCase):
    @settings(max_examples=30)
    @given(
        gaps=st.lists(st.tuples(st.integers(0, 5), st.integers(1, 9)), max_size=40), at=st.integers(0, 200)
    )
    def test_the_place_of_a_moment_is_that_of_its_first_job(
        self, gaps: list[tuple[int, int]], at: int
    ) -> None:
        """Times and numbers grow by any steps; the vote of neighbours may move the place by half of them."""
        Job.objects.all().delete()
        time, number, times = 0, 0, []
        for later, further in gaps:
            time, number = time + later, number + further
            times.append((number, time))
        Job.objects.bulk_create(
            Job(pk=pk, task_id=str(pk), state="succeeded", published_at=minute(of), seen_at=minute(of + 1))
            for pk, of in times
        )
        place = first_after(Cluster.DEFAULT_ID, minute(at), 0) or 10**6
        older = [pk for pk, of in times if of < at]
        wrongly_left_out = [pk for pk in older if pk >= place]
        wrongly_let_in = [pk for pk, of in times if of >= at and pk < place]
        assert len(wrongly_left_out) <= 7
        assert wrongly_let_in == []
        assert first_since(Cluster.DEFAULT_ID, minute(at), 0) <= place


@pytest.mark.django_db
def test_a_span_is_looked_for_flatly(ops: User) -> None:
    made([0, 1, 2], state="failed")
    made([0, 1, 2])
    make_large()
    states, tasks, queues = (None, "failed", "succeeded"), (None, "t"), (None, "high")
    for state, task, queue in product(states, tasks, queues):
        query = Query(state=state, task=task, queue=queue, since=minute(0), until=minute(2))
        with CaptureQueriesContext(connection) as captured:
            search.find(query, ops)
        asked = [each["sql"] for each in captured.captured_queries]
        assert [sql for sql in asked if is_dear(sql)] == [], query
        assert len(asked) <= 9


# Where it is asked


@pytest.fixture
def five(ops: User) -> list[Job]:
    return made([0, 1, 2, 3, 4], state="failed")


def test_the_page_takes_a_span_and_keeps_it(client: Client, ops: User, five: list[Job]) -> None:
    client.force_login(ops)
    page = client.get("/jobs/?since=2026-11-21T02:01&until=2026-11-21T02:03")
    assert [job.task_id for job in page.context["page"].jobs] == ["job-2", "job-1"]
    said = page.content.decode()
    assert 'name="since" value="2026-11-21T02:01"' in said
    assert '<input type="hidden" name="since" value="2026-11-21T02:01">' in said, "for many at once"


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("since=yesterday", "That is no moment: write it like 2026-11-22T02:41, in UTC."),
        ("until=1066-10-14T09:00", "greater than or equal"),
        ("since=9999-12-31T23:59-23:59", "less than or equal"),
        ("since=2026-11-21T03:00&until=2026-11-21T02:00", "The span ends before it begins."),
    ],
)
def test_a_span_that_is_none_says_why(client: Client, ops: User, question: str, answer: str) -> None:
    client.force_login(ops)
    response = client.get(f"/jobs/?{question}")
    assert (response.status_code, answer in response.content.decode()) == (400, True)


def test_an_empty_span_can_be_dropped(client: Client, ops: User, five: list[Job]) -> None:
    client.force_login(ops)
    said = client.get("/jobs/?state=failed&since=2026-11-22T00:00").content.decode()
    assert "No job matches" in said
    assert 'href="/jobs/?state=failed"' in said


def test_programs_ask_for_a_span(client: Client, ops: User, five: list[Job]) -> None:
    secret, _ = token_of(ops)
    get = partial(client.get, headers={"Authorization": f"Bearer {secret}"})
    told = get("/api/v1/jobs?since=2026-11-21T02:01:00Z&until=2026-11-21T03:03:00%2B01:00").json()
    assert [job["task_id"] for job in told["jobs"]] == ["job-2", "job-1"]
    refused = get("/api/v1/jobs?since=2026-11-21T02:01&until=2026-11-21T02:01")
    assert (refused.status_code, "until must be after since" in refused.json()["detail"]) == (422, True)


def test_the_command_line_asks_for_a_span(
    ops: User, five: list[Job], capsys: pytest.CaptureFixture[str]
) -> None:
    listing = ["jobs", "list", "--as", "ops", "--json"]
    call_command(*listing, "--since", "2026-11-21T02:01", "--until", "2026-11-21T02:03")
    assert [job["task_id"] for job in json.loads(capsys.readouterr().out)["jobs"]] == ["job-2", "job-1"]
    with pytest.raises(CommandError, match="That is no moment"):
        call_command(*listing, "--since", "soon")
    with pytest.raises(CommandError, match="until must be after since"):
        call_command(*listing, "--since", "2026-11-21T02:01", "--until", "2026-11-21T02:01")


def test_all_that_match_a_span_are_acted_on_and_no_others(client: Client, ops: User, five: list[Job]) -> None:
    client.force_login(ops)
    span = {"since": "2026-11-21T02:01", "until": "2026-11-21T02:03"}
    client.post(
        "/bulk/",
        {"once": "0123456789abcdef0123456789abcdef", "deed": "retry", "all": "1", "state": "failed", **span},
    )
    bulk = Bulk.objects.get()
    assert sorted(bulk.items.values_list("task_id", flat=True)) == ["job-1", "job-2"]
    page = client.get(f"/bulk/{bulk.pk}/").content.decode()
    assert "since=2026-11-21T02%3A01%3A00" in page, "the way back has the span as well"


def test_a_bulk_of_a_span_that_is_none_is_refused(ops: User) -> None:
    action = perform(
        Actor(ops, "page"), BulkPreview("retry", state="failed", since=minute(2), until=minute(2))
    )
    assert (action.outcome, Bulk.objects.exists()) == ("refused", False)


@pytest.mark.parametrize("end", ["since", "until"])
@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:00-14:00"])
def test_a_bulk_of_a_moment_beyond_all_is_refused(client: Client, ops: User, end: str, moment: str) -> None:
    client.force_login(ops)
    asked = {"once": "0123456789abcdef0123456789abcdef", "deed": "retry", "all": "1", end: moment}
    response = client.post("/bulk/", asked)
    said = "A moment must be in the years from 2000 to 2099."
    assert (response.status_code, said in response.content.decode()) == (400, True)
    assert not Bulk.objects.exists()
