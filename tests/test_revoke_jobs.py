"""A job that somebody revoked does not run, whoever is up; one that runs can be ended by a signal."""

from __future__ import annotations

import signal
import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from django.contrib.auth.models import User

from jobs.models import Action, Job, Revocation, Worker
from jobs.models.people import Outcome
from jobs.perform import Actor, perform
from nightdesk import revoked
from tests import tasks
from tests.harness import Installation, Process, RedisServer, eventually
from tests.harness.processes import python
from tests.steering import inspect
from tests.working import lines
from workers.commands.jobs import Revoke, Terminate
from workers.control import Answer
from workers.revocations import Revoker

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("published_from_here")]


@pytest.fixture
def monitor(installation: Installation) -> Process:
    return installation.monitor()


@pytest.fixture
def ana(db: None) -> User:
    return User.objects.create_superuser("ana")


@pytest.fixture
def ran(tmp_path: Path) -> Path:
    """Where jobs note that they ran."""
    return tmp_path / "ran"


def act(by: User, command: Any) -> Action:
    return perform(Actor(by, "page"), command)


def state(task_id: str) -> str | None:
    return Job.objects.filter(task_id=task_id).values_list("state", flat=True).first()


def stands(task_id: str, *states: str) -> None:
    eventually(lambda: state(task_id) in states, 30, lambda: f"{task_id} is {state(task_id)}")


def settled(action: Action, outcome: Outcome) -> Action:
    def reached() -> bool:
        action.refresh_from_db()
        return action.outcome == outcome

    eventually(reached, 30, lambda: f"{action} is {action.outcome}: {action.detail}")
    return action


def note(ran: Path, text: str, **options: Any) -> str:
    return str(tasks.note.apply_async((str(ran), text), **options).id)


def runs_after(ran: Path, text: str) -> None:
    """A job that was published last has run: those before it had their turn."""
    note(ran, text)
    eventually(lambda: text in lines(ran), 30, lambda: f"{text} runs; {lines(ran)}")


def test_a_job_that_was_revoked_before_its_worker_starts_never_runs(
    installation: Installation, monitor: Process, ana: User, ran: Path
) -> None:
    task_id = note(ran, "revoked")
    stands(task_id, "queued")
    action = settled(act(ana, Revoke(task_id)), Outcome.SENT)
    assert state(task_id) == "queued", "nobody has met it yet"
    installation.worker()
    settled(action, Outcome.DONE)
    runs_after(ran, "the next one")
    assert lines(ran) == ["the next one"]
    assert state(task_id) == "revoked"
    assert not Revocation.objects.exists()


@pytest.mark.slow
def test_a_job_that_was_revoked_while_it_waited_behind_another_never_runs(
    installation: Installation, monitor: Process, ana: User, ran: Path, tmp_path: Path
) -> None:
    installation.worker()
    tasks.sleep_until.delay(str(tmp_path / "go"), 60)
    eventually(lambda: Job.objects.filter(state="running").exists())
    task_id = note(ran, "revoked")
    stands(task_id, "queued", "received")
    action = settled(act(ana, Revoke(task_id)), Outcome.SENT)
    (tmp_path / "go").touch()
    settled(action, Outcome.DONE)
    runs_after(ran, "the next one")
    assert lines(ran) == ["the next one"]


@pytest.mark.slow
@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_a_revoked_job_that_a_worker_has_fetched_already_never_runs(
    installation: Installation, monitor: Process, ana: User, ran: Path, tmp_path: Path, pool: str
) -> None:
    greedy_worker(installation, pool)
    tasks.sleep_until.delay(str(tmp_path / "go"), 60)
    eventually(lambda: Job.objects.filter(state="running").exists())
    task_id = note(ran, "revoked")
    stands(task_id, "received")
    action = settled(act(ana, Revoke(task_id)), Outcome.SENT)
    (tmp_path / "go").touch()
    settled(action, Outcome.DONE)
    runs_after(ran, "the next one")
    assert lines(ran) == ["the next one"]


def greedy_worker(installation: Installation, pool: str) -> None:
    """A worker with one slot that fetches four jobs at a time."""
    argv = python("-m", "celery", "-A", "workers", "worker", "-I", "tests.tasks", "-Q", "default")
    argv += ["-c", "1", "-P", pool, "--prefetch-multiplier", "4"]
    installation.start("worker-greedy", argv).says(" ready.")


@pytest.mark.slow
@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_a_revoked_job_that_waits_for_its_time_in_a_worker_never_runs(
    installation: Installation, monitor: Process, ana: User, ran: Path, pool: str
) -> None:
    installation.worker(pool=pool)
    eventually(lambda: Worker.objects.exists(), 30, "the monitor reads")
    task_id = note(ran, "revoked", countdown=10)
    eventually(lambda: Job.objects.filter(task_id=task_id).exclude(received_at=None).exists())
    job = Job.objects.get(task_id=task_id)
    assert (job.state, job.started_at) == ("scheduled", None)
    settled(act(ana, Revoke(task_id)), Outcome.DONE)
    runs_after(ran, "the next one")
    assert lines(ran) == ["the next one"]


def test_a_running_job_is_ended_by_a_signal_and_does_not_run_again(
    installation: Installation, monitor: Process, ana: User, tmp_path: Path
) -> None:
    installation.worker()
    noted, never = tmp_path / "pids", tmp_path / "never"
    task_id = tasks.tell_pid_and_wait.delay(str(noted), str(never)).id
    stands(task_id, "running")
    action = act(ana, Terminate(task_id, signal="SIGKILL"))
    assert action.outcome == Outcome.ASKED
    settled(action, Outcome.DONE)
    assert state(task_id) == "revoked"
    runs_after(tmp_path / "ran", "the next one")
    assert len(lines(noted)) == 1, "it was not delivered again"


@pytest.mark.slow
def test_a_soft_signal_lets_a_job_clean_up(
    installation: Installation, monitor: Process, ana: User, tmp_path: Path
) -> None:
    installation.worker()
    task_id = tasks.sleep_until.delay(str(tmp_path / "never"), 60).id
    stands(task_id, "running")
    action = settled(act(ana, Terminate(task_id, signal="SIGUSR1")), Outcome.DONE)
    assert action.detail == "The task ended by itself: succeeded."
    runs_after(tmp_path / "ran", "the next one")


@pytest.mark.slow
def test_revoking_what_runs_lets_it_end_and_says_so(
    installation: Installation, monitor: Process, ana: User, tmp_path: Path
) -> None:
    installation.worker()
    task_id = tasks.sleep_until.delay(str(tmp_path / "go"), 60).id
    stands(task_id, "running")
    action = settled(act(ana, Revoke(task_id)), Outcome.SENT)
    (tmp_path / "go").touch()
    assert settled(action, Outcome.FAILED).detail == "It ended first: succeeded."
    assert not Revocation.objects.exists()


def test_revoking_what_has_ended_is_refused_and_changes_nothing(
    installation: Installation, monitor: Process, ana: User, ran: Path
) -> None:
    installation.worker()
    task_id = note(ran, "ran")
    stands(task_id, "succeeded")
    for command in (Revoke(task_id), Terminate(task_id)):
        action = act(ana, command)
        assert (action.outcome, action.refusal) == (Outcome.REFUSED, "ended")
    assert not Revocation.objects.exists()
    assert state(task_id) == "succeeded"


def test_a_second_revocation_of_a_job_is_refused(
    installation: Installation, monitor: Process, ana: User
) -> None:
    task_id = tasks.add.delay(1, 2).id
    stands(task_id, "queued")
    assert act(ana, Revoke(task_id)).outcome == Outcome.ASKED
    assert act(ana, Revoke(task_id)).refusal == "asked"


def test_what_waits_can_not_be_terminated(installation: Installation, monitor: Process, ana: User) -> None:
    task_id = tasks.add.delay(1, 2).id
    stands(task_id, "queued")
    assert act(ana, Terminate(task_id)).refusal == "not_running"


@pytest.mark.slow
def test_a_worker_whose_pool_can_end_no_job_says_so(
    installation: Installation, monitor: Process, ana: User, tmp_path: Path
) -> None:
    installation.worker(pool="threads")
    task_id = tasks.sleep_until.delay(str(tmp_path / "go"), 60).id
    stands(task_id, "running")
    eventually(lambda: Worker.objects.exclude(setup=None).exists())
    action = act(ana, Terminate(task_id))
    assert (action.refusal, action.detail) == ("pool", "A worker with a pool of threads can't end a job.")
    (tmp_path / "go").touch()


@pytest.mark.slow
def test_a_wish_outlives_the_monitor_that_was_killed_before_it_was_told(
    installation: Installation, monitor: Process, ana: User, ran: Path
) -> None:
    task_id = note(ran, "revoked")
    stands(task_id, "queued")
    monitor.kill()
    action = act(ana, Revoke(task_id))
    installation.monitor()
    settled(action, Outcome.SENT)
    installation.worker()
    settled(action, Outcome.DONE)
    runs_after(ran, "the next one")
    assert lines(ran) == ["the next one"]


@pytest.mark.slow
def test_a_wish_waits_for_a_broker_that_is_away(
    installation: Installation, monitor: Process, redis_server: RedisServer, ana: User, ran: Path
) -> None:
    installation.worker(name="idle", queues="low")
    task_id = note(ran, "revoked")
    stands(task_id, "queued")
    redis_server.kill()
    try:
        action = act(ana, Revoke(task_id))
        monitor.says("wishes wait")
        action.refresh_from_db()
        assert action.outcome == Outcome.ASKED
    finally:
        redis_server.start()
    settled(action, Outcome.SENT)
    installation.worker()
    settled(action, Outcome.DONE)
    runs_after(ran, "the next one")
    assert lines(ran) == ["the next one"]


@pytest.mark.slow
def test_a_list_that_redis_has_lost_is_made_again(
    installation: Installation, monitor: Process, ana: User, ran: Path
) -> None:
    task_id = note(ran, "revoked")
    stands(task_id, "queued")
    action = settled(act(ana, Revoke(task_id)), Outcome.SENT)
    with installation.redis.client() as client:
        client.delete(revoked.KEY)
    monitor.send(signal.SIGKILL)
    monitor.wait()
    installation.monitor()
    with installation.redis.client() as client:
        eventually(lambda: client.zscore(revoked.KEY, task_id) is not None, 30)
    installation.worker()
    settled(action, Outcome.DONE)


class Fleet:
    """Workers that only listen."""

    def __init__(self, *names: str) -> None:
        self.names = names
        self.heard: list[tuple[str, Any, list[str] | None]] = []

    def tell(self, method: str, arguments: Any, workers: list[str] | None) -> dict[str, Answer]:
        return {name: Answer(True, "pong") for name in self.names}

    def cast(self, method: str, arguments: Any, workers: list[str] | None) -> None:
        self.heard.append((method, arguments, workers))


def recorded(name: str, **facts: Any) -> None:
    now = datetime.now(UTC)
    Worker.objects.create(name=name, producer=name, setup="{}", online_at=now, **{"seen_at": now, **facts})


def waits(task_id: str, **facts: Any) -> str:
    """A job of the record that waits, and that somebody wishes not to run."""
    Job.objects.create(task_id=task_id, task="t", seen_at=datetime.now(UTC), **{"state": "queued", **facts})
    Revocation.objects.create(task_id=task_id, asked_at=datetime.now(UTC))
    return task_id


def test_workers_without_the_recorder_are_told_by_celerys_own_command(redis_url: str) -> None:
    recorded("recorded@h")
    recorded("replaced@h", seen_at=datetime.now(UTC) - timedelta(hours=1))
    fleet = Fleet("plain@h", "recorded@h", "replaced@h")
    waits("a job")
    waits("it runs", state="running")
    Revoker(redis_url, cast(Any, fleet), lambda _: None).turn()
    assert [call for call in fleet.heard if call[0] == "revoke"] == [
        ("revoke", {"task_id": ["a job"]}, ["plain@h", "replaced@h"])
    ]


def test_where_all_workers_have_the_recorder_celerys_own_command_is_not_sent(redis_url: str) -> None:
    recorded("recorded@h")
    waits("a job")
    fleet = Fleet("recorded@h")
    Revoker(redis_url, cast(Any, fleet), lambda _: None).turn()
    assert [method for method, *_ in fleet.heard] == [revoked.COMMAND]


@pytest.mark.slow
def test_a_worker_without_the_recorder_knows_what_was_revoked(
    installation: Installation, monitor: Process, ana: User, ran: Path
) -> None:
    installation.worker(NIGHTDESK_RECORDER="off")
    task_id = note(ran, "revoked", countdown=300)
    stands(task_id, "scheduled")
    act(ana, Revoke(task_id))
    name = f"test@{socket.gethostname()}"
    eventually(lambda: task_id in (inspect("revoked", name) or ()), 30)


@pytest.mark.slow
def test_what_was_revoked_stays_on_the_list_for_a_while(
    installation: Installation, monitor: Process, ana: User, ran: Path
) -> None:
    task_id = note(ran, "revoked")
    stands(task_id, "queued")
    action = act(ana, Revoke(task_id))
    installation.worker()
    settled(action, Outcome.DONE)
    assert revoked.revoked_before(installation.redis.url) == [task_id]
