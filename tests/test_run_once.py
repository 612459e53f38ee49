"""A job has its effect once: whatever is delivered twice, whoever is killed or frozen meanwhile."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from celery.exceptions import Ignore
from django_celery_results.models import TaskResult

from jobs.models import Attempt, Job
from jobs.store import claims
from jobs.store.results import Mine, write_result
from tests import promises
from tests.harness import Installation, Process, RedisServer, eventually
from tests.working import lines
from tests.working import worker as suite_worker
from workers import effects
from workers.app import app
from workers.brokers import connect
from workers.enqueue import using
from workers.models import Claim
from workers.running import Run

LEASE: dict[str, Any] = {"CLAIM_LEASE": "2"}
# Who does not acknowledge in time is thought dead; the tasks here have limits of their own.
IMPATIENT: dict[str, Any] = {
    **LEASE,
    "SOFT_TIME_LIMIT": "1",
    "HARD_TIME_LIMIT": "2",
    "VISIBILITY_TIMEOUT": "3",
}


def worker(installation: Installation, slots: int = 2, **settings: Any) -> Process:
    return suite_worker(installation, slots=slots, tasks="tests.promises", **{**LEASE, **settings})


@pytest.fixture
def noted(tmp_path: Path) -> Path:
    return tmp_path / "noted"


@pytest.fixture
def done(tmp_path: Path) -> Path:
    return tmp_path / "done"


def publish_twice(task: Any, *args: Any) -> Any:
    """As a publisher does that has lost the broker's answer."""
    for _ in range(2):
        result = task.apply_async(args, task_id="job")
    return result


def nothing_waits(redis_server: RedisServer) -> bool:
    broker = connect(redis_server.url)
    with redis_server.client() as client:
        aside = client.exists("nightdesk:aside")
    return broker.sample(["default"])["default"].depth == 0 and broker.unacked() == 0 and not aside


def test_of_two_messages_of_one_job_one_runs_and_the_other_waits_and_goes(
    installation: Installation, redis_server: RedisServer, noted: Path, done: Path
) -> None:
    workers = [worker(installation), worker(installation)]
    installation.monitor()
    result = publish_twice(promises.hold, str(noted), str(done))
    eventually(lambda: Attempt.objects.filter(state="duplicate").exists(), 30)
    eventually(lambda: Job.objects.get().state == "running", 10)
    done.touch()

    pid = result.get(timeout=20)
    eventually(lambda: nothing_waits(redis_server), 30, lambda: "".join(w.text()[-2000:] for w in workers))
    assert lines(noted) == [f"began {pid} 0", f"ended {pid}"]
    eventually(lambda: Job.objects.get().state == "succeeded")
    job = Job.objects.get()
    assert (job.retries, job.eta, Claim.objects.get().done) == (0, None, True)
    assert set(job.timeline.values_list("state", flat=True)) == {"succeeded", "duplicate"}


@pytest.mark.parametrize("task", [promises.note_without_result, promises.replacing])
def test_a_message_that_comes_after_the_end_does_nothing(
    installation: Installation, redis_server: RedisServer, noted: Path, task: Any
) -> None:
    worker(installation, slots=1)
    for _ in range(2):
        publish_twice(task, str(noted))
        eventually(lambda: lines(noted) and nothing_waits(redis_server), 30)
    assert len(lines(noted)) == 1


def test_a_task_that_is_idempotent_is_spared_the_claim(
    installation: Installation, redis_server: RedisServer, noted: Path
) -> None:
    publish_twice(promises.note_each_time, str(noted))
    worker(installation)
    eventually(lambda: len(lines(noted)) == 2)
    assert not Claim.objects.exists()


@pytest.mark.slow
def test_a_job_longer_than_the_visibility_timeout_runs_once(
    installation: Installation, redis_server: RedisServer, noted: Path, done: Path
) -> None:
    for _ in range(2):
        worker(installation, **IMPATIENT)
    installation.monitor()
    result = promises.hold.delay(str(noted), str(done))
    eventually(lambda: Attempt.objects.filter(state="duplicate").count() >= 2, 60)
    done.touch()
    pid = result.get(timeout=20)
    eventually(lambda: nothing_waits(redis_server), 30)
    assert lines(noted) == [f"began {pid} 0", f"ended {pid}"]
    eventually(lambda: Job.objects.get().state == "succeeded")


@pytest.mark.slow
def test_a_job_that_is_due_beyond_the_visibility_timeout_runs_once(
    installation: Installation, redis_server: RedisServer, noted: Path, tmp_path: Path
) -> None:
    for _ in range(2):
        worker(installation, **IMPATIENT)
    installation.monitor()
    by_outbox = tmp_path / "outbox"
    promises.note_without_result.apply_async((str(noted),), countdown=10)
    using(delay=10).enqueue(promises.note_without_result, str(by_outbox))
    # Both workers hold the first one in their memory by now: it was delivered again while it waited.
    eventually(lambda: lines(noted) and lines(by_outbox), 40)
    eventually(lambda: nothing_waits(redis_server), 30)
    assert (lines(noted), lines(by_outbox)) == (["ran"], ["ran"])
    eventually(lambda: Job.objects.filter(state="succeeded").count() == 2, 30)


@pytest.mark.slow
def test_the_job_of_a_killed_worker_is_taken_over_after_its_lease(
    installation: Installation, redis_server: RedisServer, noted: Path, done: Path
) -> None:
    first = worker(installation, slots=1, **IMPATIENT)
    result = promises.hold.delay(str(noted), str(done))
    eventually(lambda: lines(noted))
    first.kill()
    worker(installation, slots=1, **IMPATIENT)

    eventually(lambda: len(lines(noted)) == 2, 60)
    done.touch()
    result.get(timeout=20)
    eventually(lambda: nothing_waits(redis_server), 30)
    assert [line.split()[0] for line in lines(noted)] == ["began", "began", "ended"]


def test_a_job_whose_process_is_killed_runs_again_though_it_had_a_claim(
    installation: Installation, noted: Path, done: Path
) -> None:
    worker(installation, slots=1, CLAIM_LEASE="3600")
    result = promises.hold.delay(str(noted), str(done))
    pid = int(eventually(lambda: lines(noted))[0].split()[1])
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: len(lines(noted)) == 2, 30)
    done.touch()
    assert result.get(timeout=20) == lines(noted)[1].split()[1]
    assert lines(noted)[1].endswith(" 1")


@pytest.mark.slow
def test_who_was_frozen_beyond_its_lease_can_not_say_how_the_job_ended(
    installation: Installation, redis_server: RedisServer, noted: Path, done: Path
) -> None:
    frozen = worker(installation, slots=1)
    publish_twice(promises.hold, str(noted), str(done))
    pid = int(eventually(lambda: lines(noted))[0].split()[1])
    os.kill(pid, signal.SIGSTOP)
    worker(installation, slots=1)
    eventually(lambda: len(lines(noted)) == 2, 30)
    other = lines(noted)[1].split()[1]
    done.touch()
    result: Any = app.AsyncResult("job")
    assert result.get(timeout=20) == other

    os.kill(pid, signal.SIGCONT)
    frozen.says("its outcome here is dropped")
    eventually(lambda: nothing_waits(redis_server), 30)
    row: Any = TaskResult.objects.get()
    assert (row.status, result.get(timeout=5)) == ("SUCCESS", other)
    assert int(other) != pid


def test_a_rejected_message_a_replacement_and_celerys_retry_run_at_once(
    installation: Installation, noted: Path
) -> None:
    worker(installation, CLAIM_LEASE="3600")
    rejected = promises.reject_once.delay(str(noted))
    assert rejected.get(timeout=20) == "ran"
    assert promises.replaced.delay(str(noted)).get(timeout=20) == "replaced"
    assert promises.celerys_own.delay().get(timeout=20) == 1
    assert lines(noted) == ["ran", "ran", "replaced", "replacing"]


@pytest.mark.slow
def test_what_a_stopped_worker_gives_back_runs_elsewhere_at_once(
    installation: Installation, noted: Path, done: Path
) -> None:
    stopping = worker(installation, slots=1, CLAIM_LEASE="3600", STOP_GRACE="1")
    result = promises.hold.delay(str(noted), str(done))
    eventually(lambda: lines(noted))
    stopping.send(signal.SIGTERM)
    stopping.wait(20)
    worker(installation, slots=1, CLAIM_LEASE="3600")
    eventually(lambda: len(lines(noted)) == 2, 20)
    done.touch()
    assert result.get(timeout=20) == lines(noted)[1].split()[1]


# The claim itself


def claim(attempt: int, token: str, lease: float = 60.0) -> bool:
    return claims.claim(Claim, "job", attempt, token, lease, "default") is not None


@pytest.mark.django_db
def test_a_claim_goes_to_the_first_then_to_later_attempts_and_after_its_lease_to_anybody() -> None:
    assert claim(0, "a")
    assert claim(0, "a")
    assert not claim(0, "b")
    assert claim(1, "b")
    assert not claim(0, "a")
    assert claim(1, "b", lease=-1.0)
    assert claim(1, "c")
    claims.let_go(Claim, "job", 0, "default")
    assert not claim(1, "d")
    claims.let_go(Claim, "job", 1, "default")
    assert claim(1, "c")
    found = claims.look(Claim, "job", "default")
    assert found is not None
    assert (found.attempt, found.token, found.done) == (1, "c", False)
    assert 0 <= found.held_for < 60 < found.left + 1


@pytest.mark.django_db
def test_who_is_done_or_was_overtaken_holds_nothing() -> None:
    claim(0, "a")
    assert claims.renew(Claim, {"job": "a", "other": "b"}, 60.0, "default") == {"job"}
    assert not claims.finish(Claim, "job", "b", "default")
    assert claims.finish(Claim, "job", "a", "default")
    assert claims.renew(Claim, {"job": "a"}, 60.0, "default") == set()
    assert not claim(0, "a")  # as its renewal would that comes too late
    assert not claim(0, "b", lease=-1.0)
    assert not claim(0, "b")
    assert claim(1, "b")


@pytest.mark.django_db
def test_an_outcome_settles_the_claim_and_is_refused_to_who_has_lost_it() -> None:
    backend: Any = app.backend
    row = backend._row("job", 1, "SUCCESS", None, None)
    claim(0, "a")
    assert not write_result(backend.TaskModel, row, "default", True, Mine(Claim, "b"))
    assert not TaskResult.objects.exists()
    assert write_result(backend.TaskModel, row, "default", False, Mine(Claim, "a"))
    assert (TaskResult.objects.get().status, Claim.objects.get().done) == ("SUCCESS", True)
    assert not write_result(backend.TaskModel, row, "default", True, Mine(Claim, "a"))


@pytest.mark.django_db(transaction=True)
def test_a_claim_costs_one_statement(django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(1):
        claim(0, "a")


@pytest.mark.django_db
def test_a_job_that_runs_eagerly_claims_nothing(noted: Path) -> None:
    promises.note_without_result.apply((str(noted),))
    assert (lines(noted), Claim.objects.count()) == (["ran"], 0)


def run_of_attempt(retries: int) -> Run:
    class Request(SimpleNamespace):
        def get(self, name: str) -> Any:
            return getattr(self, name, None)

    return Run(promises.hold, Request(id="job", retries=retries, replaced_task_nesting=0, chord=None))


@pytest.mark.django_db
def test_an_attempt_that_ended_in_a_retry_is_done_and_the_next_one_may_run() -> None:
    first, second = run_of_attempt(0), run_of_attempt(1)
    effects.begin(first)
    effects.end(first, "RETRY", None)
    Claim.objects.update(until=0)
    with pytest.raises(Ignore):
        effects.begin(run_of_attempt(0))
    effects.begin(second)
    with pytest.raises(Ignore):
        effects.begin(run_of_attempt(0))
    effects.end(second, "SUCCESS", None)


@pytest.mark.django_db
def test_an_end_that_the_main_process_tells_settles_its_attempt_and_no_later_one() -> None:
    backend: Any = app.backend
    claim(1, "a")
    backend.store_result("job", ValueError("lost"), "FAILURE", request=run_of_attempt(0).request)
    assert not Claim.objects.get().done
    backend.store_result("job", ValueError("lost"), "FAILURE", request=run_of_attempt(1).request)
    assert Claim.objects.get().done
    backend.store_result("job", ValueError("revoked"), "REVOKED", request=run_of_attempt(2).request)
    assert not claim(2, "b")
    assert claim(3, "b")
    backend.store_result("job", ValueError("revoked"), "REVOKED")
    assert Claim.objects.get().done
