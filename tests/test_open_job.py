"""The page of one job, and its frame."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from dashboard.addresses import job_address
from jobs import live
from jobs.job_frame import share_done
from jobs.models import Attempt, Cluster, Job, Payload

NOW = datetime(2026, 11, 21, 3, 2, 30, tzinfo=UTC)

pytestmark = pytest.mark.django_db


def make(task_id: str = "an-id", **facts: Any) -> Job:
    return Job.objects.create(task_id=task_id, **{"state": "queued", "seen_at": NOW, **facts})


def frame(job: Job) -> dict[str, Any]:
    found = live.frame(live.topic_named(f"job-{job.pk}", "all"), Cluster.DEFAULT_ID, NOW)
    assert found is not None
    return found


def test_the_frame_tells_all_about_a_job(django_assert_max_num_queries: Callable[[int], Any]) -> None:
    at = NOW - timedelta(seconds=60)
    job = make(
        state="failed",
        task="t",
        queue="high",
        retries=1,
        attempts=2,
        priority=9,
        published_at=at,
        started_at=NOW,
        ended_at=NOW,
        wait=0.5,
        run=1.5,
        total=60.0,
        exception="KeyError: 'currency'",
    )
    Payload.objects.create(job=job, args="[1]", kwargs='{"a": 2}', withheld="redacted", result="3")
    for retries, state in enumerate(["retrying", "failed"]):
        Attempt.objects.create(
            job=job,
            retries=retries,
            delivery=7,
            state=state,
            published_at=at,
            started_at=at + timedelta(seconds=2),
            traceback="Traceback",
        )
    with django_assert_max_num_queries(5):
        found = frame(job)
    assert found["topic"] == f"job-{job.pk}.all"
    assert (found["published"], found["ended"]) == (at.timestamp(), NOW.timestamp())
    assert (found["wait"], found["run"], found["total"], found["eta"]) == (0.5, 1.5, 60.0, None)
    assert (found["args"], found["kwargs"], found["result"], found["withheld"]) == (
        "[1]",
        '{"a": 2}',
        "3",
        "redacted",
    )
    assert [(a["retries"], a["state"], a["wait"], a["traceback"]) for a in found["attempts"]] == [
        (0, "retrying", 2.0, "Traceback"),
        (1, "failed", 2.0, "Traceback"),
    ]
    assert (found["attempts_count"], found["progress"]) == (2, None)
    assert json.loads(live.text_of(found)) == found


def test_an_attempt_that_nobody_measured_ran_from_its_start_to_its_end() -> None:
    job = make()
    Attempt.objects.create(
        job=job, retries=0, delivery=1, state="retrying", started_at=NOW, ended_at=NOW + timedelta(seconds=4)
    )
    assert frame(job)["attempts"][0]["run"] == 4.0


def test_where_nothing_was_captured_the_frame_says_so() -> None:
    found = frame(make())
    assert (found["args"], found["kwargs"], found["result"]) == (None, None, None)
    assert (found["withheld"], found["attempts"]) == ("not captured", [])


def test_a_job_that_is_not_there_has_no_frame() -> None:
    assert live.frame(live.topic_named("job-99", "all"), Cluster.DEFAULT_ID, NOW) is None


def test_progress_is_shown_with_the_share_it_tells() -> None:
    job = make(state="running")
    report = {
        "state": "RENDERING",
        "meta": {"current": 412, "total": 1000, "page": "A"},
        "at": NOW.timestamp(),
    }
    Payload.objects.create(job=job, progress=json.dumps(report))
    assert frame(job)["progress"] == {**report, "share": 0.412}


@pytest.mark.parametrize("text", ["", "nonsense", "[]", "17", '{"meta": '])
def test_a_progress_report_that_cannot_be_read_is_none(text: str) -> None:
    job = make()
    Payload.objects.create(job=job, progress=text)
    assert frame(job)["progress"] is None


def test_numbers_that_fit_into_no_frame_do_not_break_it() -> None:
    job = make()
    Payload.objects.create(
        job=job, progress='{"state": "S", "meta": {"current": 1' + "0" * 40 + ', "total": 4}}'
    )
    found = frame(job)
    assert found["progress"]["share"] == 1.0
    assert live.text_of(found)


@pytest.mark.parametrize(
    ("meta", "share"),
    [
        ({"current": 1, "total": 4}, 0.25),
        ({"done": 3, "total": 4}, 0.75),
        ({"percent": 40}, 0.4),
        ({"percent": 140.0}, 1.0),
        ({"current": -1, "total": 4}, 0.0),
        ({"current": 1, "total": 0}, None),
        ({"current": True, "total": 4}, None),
        ({"current": "1", "total": 4}, None),
        ({"current": float("nan"), "total": 4}, None),
        ({"percent": "40"}, None),
        ({}, None),
        (None, None),
        ("half", None),
        ([1, 2], None),
    ],
)
def test_the_share_is_told_by_numbers_alone(meta: Any, share: float | None) -> None:
    assert share_done(meta) == share


def test_a_job_is_found_by_its_task_id(client: Client, ops: User) -> None:
    make("2026.11:a@b_c-d", task="shop.tasks.sync")
    client.force_login(ops)
    response = client.get("/jobs/2026.11:a@b_c-d/")
    assert response.status_code == 200
    assert response.context["frame"]["task"] == "shop.tasks.sync"
    assert "no-store" in response["Cache-Control"]


@pytest.mark.parametrize(
    "task_id", ["a b", "a/b", ".", "..", "ünï", "~17", "a?b#c", "%2e", "<script>", "x\ny"]
)
def test_an_id_that_fits_into_no_path_is_found_by_number(client: Client, ops: User, task_id: str) -> None:
    job = make(task_id)
    client.force_login(ops)
    assert job_address(job) == f"/jobs/~{job.pk}/"
    assert client.get(job_address(job)).context["frame"]["task_id"] == task_id


def test_a_number_leads_to_the_better_address(client: Client, ops: User) -> None:
    job = make("an-id")
    client.force_login(ops)
    assert client.get(f"/jobs/~{job.pk}/")["Location"] == job_address(job) == "/jobs/an-id/"


def test_two_clusters_may_share_an_id(client: Client, ops: User) -> None:
    other = Cluster.objects.create(name="night & day")
    ours, theirs = make("an-id"), make("an-id", cluster=other)
    client.force_login(ops)
    assert job_address(theirs) == "/jobs/an-id/?cluster=night+%26+day"
    assert client.get(job_address(ours)).context["frame"]["id"] == ours.pk
    assert client.get(job_address(theirs)).context["frame"]["id"] == theirs.pk


@pytest.mark.parametrize(
    "address",
    [
        "/jobs/unknown/",
        "/jobs/~1/",
        "/jobs/~99999999999999999999/",
        "/jobs/../",
        "/jobs/%2e%2e/",
        "/jobs/a%2fb/",
        "/jobs/%00/",
        "/jobs/" + "x" * 300 + "/",
        "/jobs/a/?cluster=nowhere",
    ],
)
def test_what_is_not_there_is_not_found(client: Client, ops: User, address: str) -> None:
    client.force_login(ops)
    assert client.get(address).status_code == 404


def test_the_admin_shows_jobs_and_changes_none(client: Client, ops: User) -> None:
    job = make("an-id")
    client.force_login(ops)
    assert "an-id" in client.get("/admin/nightdesk_jobs/job/").content.decode()
    assert client.get(f"/admin/nightdesk_jobs/job/{job.pk}/change/").status_code == 200
    assert client.post(f"/admin/nightdesk_jobs/job/{job.pk}/change/", {"task_id": "other"}).status_code == 403
    assert client.post(f"/admin/nightdesk_jobs/job/{job.pk}/delete/", {"post": "yes"}).status_code == 403
    assert client.get("/admin/nightdesk_jobs/job/add/").status_code == 403
    assert Job.objects.get().task_id == "an-id"
