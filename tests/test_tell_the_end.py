"""How a job ended is known, whichever process of its worker is killed right then, and it counts once."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from jobs.models import ENDED, Attempt, Bucket, Job
from tests import tasks
from tests.harness import Installation, Process, RedisServer, eventually
from tests.working import lines, worker

pytestmark = pytest.mark.django_db(transaction=True)

STATES = {"succeed": "succeeded", "fail": "failed", "retry": "retrying"}


def told_of(redis_server: RedisServer, kind: str) -> list[dict[str, Any]]:
    """The events of one kind in the stream."""
    with redis_server.client() as client:
        entries: Any = client.xrange("nightdesk:events")
    return [event for _, fields in entries for event in json.loads(fields[b"e"]) if event["type"] == kind]


def run_until_told(installation: Installation, tmp_path: Path, how: str) -> Process:
    """A worker whose main process is frozen while the one that runs the job ends it and tells so."""
    file, go = tmp_path / "noted", tmp_path / "go"
    working = worker(installation)
    tasks.end_when_told.delay(str(file), str(go), how)
    eventually(lambda: lines(file) == ["runs 0"])
    if how != "die":
        working.send(signal.SIGSTOP)
    go.touch()
    eventually(lambda: ended(file))
    return working


def ended(file: Path) -> list[str]:
    """The jobs whose process has told everybody that they are over."""
    return [line.removeprefix("ended ") for line in lines(file) if line.startswith("ended ")]


def ends_counted() -> int:
    return sum(b.succeeded + b.failed + b.revoked + b.rejected for b in Bucket.objects.filter(tier=60))


@pytest.mark.parametrize("how", ["succeed", pytest.param("fail", marks=pytest.mark.slow)])
def test_an_end_is_known_though_the_main_process_never_heard_of_it(
    installation: Installation, redis_server: RedisServer, tmp_path: Path, how: str
) -> None:
    run_until_told(installation, tmp_path, how).kill()

    worker(installation, queues="other")
    installation.monitor()
    eventually(lambda: Job.objects.filter(state=STATES[how]).exists())
    assert ends_counted() == 1
    attempt = Attempt.objects.get()
    assert (attempt.run is not None) if how == "succeed" else ("currency" in (attempt.exception or ""))


@pytest.mark.slow
def test_a_retry_is_known_though_the_main_process_never_heard_of_it(
    installation: Installation, tmp_path: Path
) -> None:
    run_until_told(installation, tmp_path, "retry").kill()

    worker(installation, queues="other")
    installation.monitor()
    eventually(lambda: Attempt.objects.filter(state="retrying", exception__contains="away").exists())
    assert Job.objects.get().state in ("retrying", "scheduled")
    assert ends_counted() == 0


@pytest.mark.slow
def test_the_end_of_a_process_killed_right_after_its_job_is_told_twice_and_counts_once(
    installation: Installation, redis_server: RedisServer, tmp_path: Path
) -> None:
    run_until_told(installation, tmp_path, "die")
    eventually(lambda: len(told_of(redis_server, "task-succeeded")) == 2, 30)

    installation.monitor()
    eventually(lambda: Job.objects.filter(state="succeeded").exists())
    assert ends_counted() == Attempt.objects.count() == 1
    assert len(lines(tmp_path / "noted")) == 2  # it ran once


def test_a_job_that_ends_in_peace_is_told_by_both_processes_and_counts_once(
    installation: Installation, redis_server: RedisServer
) -> None:
    worker(installation)
    installation.monitor()
    assert tasks.add.delay(1, 2).get(timeout=20) == 3
    first, second = eventually(lambda: _both(told_of(redis_server, "task-succeeded")))
    assert first["delivery"] == second["delivery"]
    assert first["result"] == second["result"] == "3"
    assert first["runtime"] == second["runtime"]

    eventually(lambda: Job.objects.filter(state__in=ENDED).exists())
    assert ends_counted() == Attempt.objects.count() == 1


def _both(told: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return told if len(told) == 2 else []


@pytest.mark.slow
def test_every_end_is_known_whenever_the_main_process_is_killed(
    installation: Installation, tmp_path: Path
) -> None:
    """Eight rounds of a busy worker, killed as soon as a job says that it is over."""
    installation.monitor()
    over: set[str] = set()
    for number in range(8):
        file, go = tmp_path / f"noted-{number}", tmp_path / f"go-{number}"
        working = worker(installation, slots=2, queues=f"q{number}")
        go.touch()
        for _ in range(20):
            tasks.end_when_told.apply_async((str(file), str(go), "succeed"), queue=f"q{number}")
        eventually(lambda file=file: ended(file), every=0.001)  # type: ignore[misc]
        working.kill()
        over |= set(ended(file))
    worker(installation, queues="other")
    eventually(
        lambda: over <= set(Job.objects.filter(state="succeeded").values_list("task_id", flat=True)), 20
    )
    assert len(over) >= 8
