"""A job says how far it is, and hears that it is to end."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from nightdesk import revoked
from tests import promises
from tests.harness import Installation, RedisServer, eventually
from tests.test_results import progress_of
from tests.working import lines, worker
from workers import reports
from workers.running import Run, current


def test_steps_are_told_at_most_twice_a_second_and_the_last_one_stays(
    installation: Installation, redis_server: RedisServer, tmp_path: Path
) -> None:
    worker(installation, tasks="tests.promises")
    job = promises.step_by_step.delay(str(tmp_path / "go"))
    last = ("PROGRESS", {"step": 3, "label": "write", "current": 2, "total": 3, "shelf": "A"})
    eventually(lambda: progress_of(redis_server, job.id)[-1:] == [last])
    told = progress_of(redis_server, job.id)
    assert told == [("PROGRESS", {"step": 1, "label": "fetch", "current": 0, "total": 3}), last]
    state: Any = eventually(lambda: job.state not in ("PENDING", "STARTED") and job.state)
    assert state == "PROGRESS"
    assert job.info == last[1]
    (tmp_path / "go").touch()
    job.get(timeout=20)


def test_a_job_hears_that_it_is_revoked_while_it_runs(
    installation: Installation, redis_server: RedisServer, tmp_path: Path
) -> None:
    worker(installation, tasks="tests.promises")
    job = promises.until_cancelled.delay(str(tmp_path / "file"))
    eventually(lambda: lines(tmp_path / "file"))
    with redis_server.client() as client:
        client.zadd(revoked.KEY, {job.id: time.time() + 3600})
    assert job.get(timeout=20) == "cancelled"


def test_without_a_worker_nothing_is_told_and_nobody_cancels() -> None:
    task: Any = promises.until_cancelled
    task.step("alone")
    task.report("RENDERING")
    assert not task.cancelled()


@pytest.fixture
def planned(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What is to be done later, as nobody does it by itself."""
    calls: list[Any] = []
    monkeypatch.setattr(reports, "call_later", lambda _seconds, function: calls.append(function))
    return calls


@pytest.mark.django_db(transaction=True)
def test_what_waits_to_be_told_is_not_told_after_the_end(
    planned: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[str] = []
    task: Any = promises.step_by_step

    def note(_backend: Any, _task_id: str, meta: Any, *_arguments: Any, **_options: Any) -> None:
        written.append(meta["label"])

    monkeypatch.setattr(type(task.backend), "store_result", note)
    task.push_request(id="job", called_directly=False)
    run = Run(task, task.request)
    token = current.set(run)
    try:
        for label in ("a", "b", "c"):
            task.step(label)
        assert (written, len(planned)) == (["a"], 1)
        planned.pop()()
        assert written == ["a", "c"]
        task.step("d")
        reports.end(run)
        planned.pop()()
        assert written == ["a", "c"]
    finally:
        current.reset(token)
        task.pop_request()
