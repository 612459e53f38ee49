"""Programs ask: jobs, queues, workers, figures; and what goes wrong is told in one form."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
import time_machine
from django.conf import LazySettings
from django.db import DatabaseError, connection
from django.test import Client
from django.utils import timezone

from dashboard.api import door
from jobs.allowance import Allowance
from jobs.models import Action, Attempt, Bucket, Cluster, Heartbeat, Job, Payload, QueueSample, Reach, Worker
from jobs.models.people import Outcome
from jobs.rollups import Sketches
from tests.api import Answer, Program, account, program, token_of
from tests.test_list_jobs import make

pytestmark = pytest.mark.django_db


def problem(answer: Answer) -> tuple[int, str]:
    """Status and code of an answer that is a problem as RFC 9457 has it."""
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert {"type", "title", "status", "code", "detail"} <= set(answer.body)
    assert answer.body["status"] == answer.status
    return answer.status, answer.body["code"]


def test_jobs_come_newest_first_and_page_by_page() -> None:
    make(120)
    one = program("viewer")
    seen: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = one.get("/jobs", **cursor).body
        seen += [job["task_id"] for job in page["jobs"]]
        if page["next"] is None:
            break
        cursor = {"cursor": page["next"]}
    assert seen == [f"job-{number}" for number in range(119, -1, -1)]
    assert (page["count"], page["more"]) == (120, False)


def test_jobs_are_filtered() -> None:
    make(2, task="a", state="failed")
    make(1, task="b", state="failed")
    make(1, task="a")
    found = program("viewer").get("/jobs", task="a", state="failed").body
    assert [job["task_id"] for job in found["jobs"]] == ["job-1", "job-0"]


@pytest.mark.parametrize(
    "query",
    [
        {"state": "sleeping"},
        {"stat": "failed"},
        {"cursor": "-1"},
        {"cursor": "x"},
        {"task": "a\x00b"},
        {"queue": "q" * 300},
    ],
)
def test_a_question_that_makes_no_sense_is_said_to_be_so(query: dict[str, str]) -> None:
    answer = program("viewer").get("/jobs", **query)
    assert problem(answer) == (422, "invalid")
    assert answer.body["errors"][0]["where"] == f"query.{next(iter(query))}"


def detailed_job() -> Job:
    now = timezone.now()
    job = Job.objects.create(
        task_id="t-1", task="shop.pay", queue="high", state="failed", seen_at=now, published_at=now,
        ended_at=now, exception="ValueError: card 4111", attempts=1,
    )  # fmt: skip
    progress = orjson.dumps({"state": "HALF", "meta": {"current": 1, "total": 2}, "at": now.timestamp()})
    Payload.objects.create(job=job, args="[1]", kwargs='{"a": 2}', result=None, progress=progress.decode())
    Attempt.objects.create(
        job=job, retries=0, delivery=1, state="failed", ended_at=now, exception="ValueError: card 4111",
        traceback="line 1\n\x1b[31mline 2",
    )  # fmt: skip
    return job


def test_a_job_tells_all_that_is_known_of_it() -> None:
    job = detailed_job()
    told = program("viewer").get("/jobs/t-1").body
    assert (told["state"], told["args"], told["kwargs"]) == ("failed", "[1]", '{"a": 2}')
    assert (told["progress"]["state"], told["progress"]["share"]) == ("HALF", 0.5)
    assert told["timeline"][0]["traceback"].startswith("line 1")
    assert datetime.fromisoformat(told["ended_at"]) == job.ended_at
    assert program("viewer").get(f"/jobs/~{job.pk}").body == told


def test_what_a_job_carries_is_for_who_may_see_it() -> None:
    detailed_job()
    answer = program("viewer", "view_record").get("/jobs/t-1")
    assert answer.status == 200
    assert answer.body["exception"] == "ValueError"
    assert (answer.body["args"], answer.body["timeline"][0]["traceback"]) == (None, None)
    assert "4111" not in json.dumps(answer.body)
    assert "4111" not in json.dumps(program("viewer", "view_record").get("/jobs").body)


@pytest.mark.parametrize("path", ["/jobs/none", "/jobs/~9", "/jobs/~99999999999999999999", "/jobs/a%00b"])
def test_a_job_that_is_not_there_is_not_found(path: str) -> None:
    assert problem(program("viewer").get(path)) == (404, "missing")


def test_beyond_the_reach_there_is_nothing() -> None:
    detailed_job()
    secret, token = token_of(account("ana", "viewer"))
    Reach.objects.create(user=token.user, queues="low")
    one = Program(secret)
    assert problem(one.get("/jobs/t-1")) == (404, "missing")
    assert one.get("/jobs").body["jobs"] == []
    assert problem(one.get("/queues/high")) == (404, "missing")


def test_a_job_of_another_cluster_is_asked_for_by_name() -> None:
    other = Cluster.objects.create(name="other")
    make(1, cluster=other)
    one = program("viewer")
    assert one.get("/jobs/job-0").status == 404
    assert one.get("/jobs/job-0", cluster="other").status == 200
    assert problem(one.get("/jobs", cluster="nowhere")) == (404, "missing")


def test_queues_and_workers_are_told() -> None:
    now = timezone.now()
    Heartbeat.objects.create(name="monitor", at=now, host="h", pid=1)
    Worker.objects.create(
        producer="p",
        name="w@h/1",
        seen_at=now,
        online_at=now,
        queues="high",
        slots=4,
        setup='{"pool":"solo"}',
    )
    one = program("viewer")
    assert [queue["name"] for queue in one.get("/queues").body["queues"]] == ["default", "high", "low"]
    assert one.get("/queues/high").body["slots"] == 4
    for number in range(40):
        QueueSample.objects.create(queue=f"q{number}", at=timezone.now(), depth=0)
    assert len(one.get("/queues").body["queues"]) == 43
    assert one.get("/queues/q39").body["name"] == "q39"
    told = one.get("/workers/w%40h%2F1").body
    assert (told["state"], told["queues"], told["setup"]) == ("online", ["high"], {"pool": "solo"})
    assert one.get("/workers").body["workers"] == [told]
    assert problem(one.get("/workers/none")) == (404, "missing")


def test_schedules_health_and_version_are_told() -> None:
    one = program("viewer")
    assert one.get("/schedules").body["beat"] == "never"
    health = one.get("/health")
    assert (health.status, health.body["ok"]) == (200, False)
    assert one.get("/version").body["api"] == "v1"


def bucket(tier: int, start: int, seconds: float = 2.0, **counts: Any) -> None:
    sketches = Sketches()
    for measure in ("wait", "run", "total"):
        sketches.at("succeeded", measure).add(seconds)
    Bucket.objects.create(
        tier=tier, start=start, sketches=sketches.dumps(), **{"task": "t", "queue": "high", **counts}
    )


def test_figures_of_a_span_come_from_buckets() -> None:
    start = datetime(2026, 11, 22, 5, 0, tzinfo=UTC)
    minute = int(start.timestamp()) // 60
    bucket(60, minute, succeeded=3, failed=1)
    bucket(60, minute + 1, succeeded=4, queue="low")
    bucket(60, minute + 60, succeeded=100)
    span = {"since": start.isoformat(), "until": (start + timedelta(hours=1)).isoformat()}
    told = program("viewer").get("/stats", **span).body
    assert (told["step"], told["total"]["succeeded"], told["total"]["failed"]) == (60, 7, 1)
    assert told["success"] == 7 / 8
    assert told["latency"]["total"]["count"] == 2
    assert told["latency"]["total"]["p95"] == pytest.approx(2.0, rel=0.02)
    assert [step["succeeded"] for step in told["steps"]] == [3, 4]
    assert program("viewer").get("/stats", queue="low", **span).body["total"]["succeeded"] == 4


def test_a_long_span_is_told_in_wider_steps() -> None:
    day = int(datetime(2026, 11, 1, tzinfo=UTC).timestamp()) // 3600
    bucket(3600, day, succeeded=5)
    bucket(60, day * 60, succeeded=5)
    told = program("viewer").get("/stats", since="2026-11-01", until="2026-11-08T00:00:00Z").body
    assert (told["step"], told["total"]["succeeded"]) == (3600, 5)


@pytest.mark.parametrize(
    "query",
    [
        {"since": "2026-11-02T00:00:00Z", "until": "2026-11-01T00:00:00Z"},
        {"since": "2026-01-01T00:00:00Z", "until": "2026-12-01T00:00:00Z", "step": "60"},
        {"step": "7"},
        {"since": "1e300"},
        {"since": "0001-01-01T00:00:00Z"},
    ],
)
def test_a_span_that_makes_no_sense_is_said_to_be_so(query: dict[str, str]) -> None:
    assert problem(program("viewer").get("/stats", **query)) == (422, "invalid")


def test_a_span_shows_what_the_token_reaches() -> None:
    secret, token = token_of(account("ana", "viewer"))
    Reach.objects.create(user=token.user, queues="low")
    minute = int(timezone.now().timestamp()) // 60 - 5
    bucket(60, minute, succeeded=3)
    bucket(60, minute, succeeded=4, queue="low")
    assert Program(secret).get("/stats").body["total"]["succeeded"] == 4


def written(**facts: Any) -> Action:
    return Action.objects.create(
        **{"at": timezone.now(), "who": "ana", "via": "page", "command": "job.retry", **facts},
        target_kind="job", target="t-1", outcome=Outcome.DONE,
    )  # fmt: skip


def test_the_audit_is_for_who_may_read_it() -> None:
    action = written()
    told = program("operator").get("/actions", who="ana").body
    assert [one["id"] for one in told["actions"]] == [action.pk]
    assert program("operator").get("/actions", command="queue.pause").body["actions"] == []
    assert program("operator").get(f"/actions/{action.pk}").body["who"] == "ana"
    assert problem(program("viewer").get("/actions")) == (403, "permission")
    assert problem(program("viewer").get(f"/actions/{action.pk}")) == (404, "missing")


def test_without_the_permission_to_see_the_record_nothing_is_told() -> None:
    secret, _ = token_of(account("nobody"), "view_record")
    for path in ("/jobs", "/queues", "/workers", "/schedules", "/stats", "/health", "/bulks", "/actions"):
        assert problem(Program(secret).get(path)) == (403, "permission"), path


def test_an_address_that_is_not_there_is_not_found() -> None:
    assert problem(program("viewer").get("/nothing")) == (404, "missing")
    assert problem(Program(None).get("/")) == (404, "missing")


def test_a_method_that_is_not_there_is_said_to_be_so() -> None:
    answer = program("admin").ask("DELETE", "/jobs")
    assert problem(answer) == (405, "method")
    assert answer.headers["Allow"] == "GET"


def test_head_tells_what_get_would_without_the_body() -> None:
    answer = program("viewer").ask("HEAD", "/jobs")
    assert (answer.status, answer.body) == (200, None)


@pytest.mark.parametrize(
    ("body", "kind", "status", "code"),
    [
        (b"{", "application/json", 400, "unreadable"),
        (b'{"a": NaN}', "application/json", 400, "unreadable"),
        (b"[" * 100_000, "application/json", 400, "unreadable"),
        (b'{"task_id": "\\ud800"}', "application/json", 400, "unreadable"),
        (b"[]", "application/json", 422, "invalid"),
        (b"{}", "application/json", 422, "invalid"),
        (b"", "application/json", 422, "invalid"),
        (b'{"task_id": 5}', "application/json", 422, "invalid"),
        (b'{"task_id": "x", "more": 1}', "application/json", 422, "invalid"),
        (b'{"task_id": "a\\u0000b"}', "application/json", 422, "invalid"),
        (b"task_id=1", "application/x-www-form-urlencoded", 415, "kind"),
        (b"x" * 1_000_001, "application/json", 413, "large"),
    ],
)
def test_what_is_sent_is_held_against_its_form(body: bytes, kind: str, status: int, code: str) -> None:
    answer = program("admin").ask("POST", "/commands/job.retry", body, kind=kind)
    assert problem(answer) == (status, code)
    assert not Action.objects.exists()


def test_requests_are_counted_by_the_minute_over_all_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    secret, token = token_of(account("ana", "viewer"))
    one = Program(secret)
    processes = [Allowance(limit=12) for _ in range(3)]
    with time_machine.travel(datetime(2026, 11, 22, 5, 0, 10, tzinfo=UTC), tick=False) as clock:
        type(token).objects.update(expires_at=datetime(2100, 1, 1, tzinfo=UTC))
        answers = []
        for number in range(20):
            monkeypatch.setattr(door, "allowance", processes[number % 3])
            answers.append(one.get("/me"))
        assert [answer.status for answer in answers].count(200) == 12
        last = answers[-1]
        assert problem(last) == (429, "rate")
        assert (last.headers["Retry-After"], last.headers["RateLimit"]) == ("50", '"minute";r=0;t=50')
        assert last.headers["RateLimit-Policy"] == '"minute";q=12;w=60'
        clock.shift(50)
        assert one.get("/me").status == 200


def test_each_token_has_an_allowance_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "allowance", Allowance(limit=1))
    with time_machine.travel(timezone.now(), tick=False):
        ana, bo = program("viewer"), program("operator")
        assert [ana.get("/me").status, ana.get("/me").status, bo.get("/me").status] == [200, 429, 200]


def test_a_database_that_is_away_is_a_problem_too() -> None:
    one = program("viewer")

    def refuse(*_: object) -> None:
        raise DatabaseError("the disk is full")

    with connection.execute_wrapper(refuse):
        answer = one.get("/jobs")
    assert problem(answer) == (503, "database")


def test_a_fault_of_ours_is_a_problem_without_a_word_of_it(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("jobs.search.find", lambda *_: 1 / 0)
    answer = program("viewer").get("/jobs")
    assert problem(answer) == (500, "fault")
    assert "division" not in json.dumps(answer.body)
    assert "division" in caplog.text


def test_an_answer_is_kept_by_nobody_and_sets_no_cookie(client: Client, settings: LazySettings) -> None:
    answer = program("viewer").get("/jobs")
    assert answer.headers["Cache-Control"] == "no-store"
    assert "Set-Cookie" not in answer.headers
