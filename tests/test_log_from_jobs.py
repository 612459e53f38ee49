"""What a job logs stands on its page while it runs, redacted and capped."""

from __future__ import annotations

import logging
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.test import Client

import nightdesk
from jobs import log_lines
from jobs.events import JobEvent
from jobs.models import Job, LogPart
from jobs.record import Record
from tests import promises
from tests.harness import Installation, eventually
from tests.stream import START, entries_of, raw
from tests.working import worker
from workers.joblogs import JobLog, JobLogHandler
from workers.running import Run, current

SOURCE = "test"
producers = count()


def log_event(first: int, texts: list[str], **more: Any) -> dict[str, Any]:
    lines = [[0.5, "INFO", "shop", text] for text in texts]
    meta = {"first": first, "lines": lines, "left_out": 0, **more}
    return raw("job-log", "job", 2.0, retries=0, delivery=7, meta=meta)


def record(*events: dict[str, Any]) -> None:
    Record(SOURCE).commit(entries_of(list(events), producer=f"p{next(producers)}"))


def test_a_running_job_shows_what_it_logs_on_its_page(
    installation: Installation, ops: User, client: Client, tmp_path: Path
) -> None:
    worker(installation, tasks="tests.promises")
    installation.monitor()
    client.force_login(ops)
    job = promises.log_lines.delay(3, str(tmp_path / "go"))
    eventually(lambda: LogPart.objects.exists(), 30)

    page = client.get(f"/jobs/{job.id}/").content.decode()
    assert "line 0 of order" in page
    assert "line 2 of order" in page
    assert "KeyError: &#x27;currency&#x27;" in page
    assert "hunter2" not in page
    assert Job.objects.get(task_id=job.id).state == "running"
    (tmp_path / "go").touch()
    job.get(timeout=20)


@pytest.mark.django_db
def test_parts_in_any_order_twice_and_of_several_attempts_make_one_log() -> None:
    record(raw("task-sent", "job", name="t", queue="q"))
    record(log_event(2, ["c"]), log_event(0, ["a", "b"]))
    record(
        log_event(2, ["c"]),
        raw(
            "job-log", "job", 9.0, retries=1, delivery=9, meta={"first": 0, "lines": [[0, "ERROR", "x", "d"]]}
        ),
    )
    parts = LogPart.objects.order_by("retries", "delivery", "first")
    lines = log_lines.written(parts.values_list("lines", flat=True))
    assert [line.text for line in lines] == ["a", "b", "c", "d"]
    assert (lines[0].at, lines[3].at) == (START + 1.5, START + 9.0)


@pytest.mark.django_db
def test_whoever_may_not_see_what_jobs_carry_does_not_see_their_logs(client: Client) -> None:
    record(raw("task-sent", "job", name="t", queue="q"), log_event(0, ["a line <b>of</b> it"]))
    for role, shown in (("nobody", False), ("admin", True)):
        user = User.objects.create_user(role, password="x", is_superuser=shown)
        if not shown:
            grant_view_of_the_record(user)
        client.force_login(user)
        page = client.get("/jobs/job/").content.decode()
        assert ("a line &lt;b&gt;of&lt;/b&gt; it" in page) is shown


def grant_view_of_the_record(user: User) -> None:
    from django.contrib.auth.models import Permission

    user.user_permissions.add(Permission.objects.get(codename="view_record"))


@pytest.mark.parametrize(
    "meta",
    [
        None,
        [],
        {"lines": "a"},
        {"first": -1, "lines": []},
        {"first": 10**9, "lines": []},
        {"first": "0", "lines": [[0, "a", "b", "c"]]},
    ],
)
def test_what_is_no_log_is_left_out(meta: Any) -> None:
    assert log_lines.rows_of(1, [JobEvent("log", "job", START, meta=meta)]) == []


def test_of_hostile_lines_what_can_be_kept_is_kept() -> None:
    told = [
        [0, "INFO", "x", "a\x00\ud800" + "b" * 5000],
        ["?", None, 3, {}],
        [1],
        "no",
        [1e9, "I" * 500, "", "last"],
    ]
    [row] = log_lines.rows_of(1, [JobEvent("log", "job", START, meta={"first": 0, "lines": told * 100})])
    lines = log_lines.written([row[4]])
    assert len(row[4]) < 60_000
    assert lines[0].text.startswith("a\ufffd?b")
    assert len(lines[0].text) == log_lines.LINE_LENGTH
    assert (lines[1].level, lines[1].text, lines[2].at) == ("?", "{}", START - 3600)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What goes to the recorder."""
    events: list[dict[str, Any]] = []
    monkeypatch.setattr(nightdesk, "emit", lambda type, **fields: events.append(fields["meta"]))
    return events


def a_run() -> Run:
    request: Any = type("Request", (dict,), {"id": "job", "retries": 0})()
    return Run(task=None, request=request)


def test_a_job_that_says_too_much_is_cut_and_told_so(told: list[dict[str, Any]]) -> None:
    log = JobLog(a_run())
    for number in range(settings.JOB_LOG_LINES + 5):
        log.add((0.0, "INFO", "x", f"{number}"))
    log.flush(last=True)
    lines = [line for part in told for line in part["lines"]]
    assert [line[3] for line in lines] == [str(n) for n in range(settings.JOB_LOG_LINES)]
    assert [part["first"] for part in told][:2] == [0, len(told[0]["lines"])]
    assert told[-1]["left_out"] == 5
    assert all(sum(len(line[3]) + 40 for line in part["lines"]) <= 5_000 for part in told)


def test_a_line_is_cut_and_bytes_are_counted(told: list[dict[str, Any]]) -> None:
    run = a_run()
    run.log = JobLog(run)
    handler, token = JobLogHandler(), current.set(run)
    try:
        for name in ("shop", "celery.worker", "django.db.backends"):
            for _ in range(100):
                handler.emit(logging.LogRecord(name, logging.INFO, "", 0, "%s", ("y" * 10_000,), None))
    finally:
        current.reset(token)
    run.log.flush(last=True)
    lines = [line for part in told for line in part["lines"]]
    assert {(line[2], len(line[3])) for line in lines} == {("shop", 2_002)}
    assert sum(len(line[3]) for line in lines) <= settings.JOB_LOG_BYTES + 2_002
    assert told[-1]["left_out"] == 100 - len(lines)
