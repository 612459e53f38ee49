from __future__ import annotations

from datetime import timedelta
from itertools import count
from typing import Any

import pytest
from celery import chord, signals, states
from django.db import OperationalError, connection
from django.utils import timezone
from django_celery_results.models import ChordCounter, TaskResult  # type: ignore[attr-defined]

import nightdesk
from jobs.store import claims
from tests import tasks
from tests.harness import Installation, RedisServer, eventually
from tests.harness.processes import python
from tests.working import events, worker
from workers.app import app
from workers.models import Claim
from workers.results import CLAIMS_KEPT, ResultBackend


@pytest.fixture
def backend() -> ResultBackend:
    return ResultBackend(app=app)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, Any]]]:
    """What the backend tells the recorder."""
    events: list[tuple[str, dict[str, Any]]] = []
    monkeypatch.setattr(nightdesk, "emit", lambda type, **fields: events.append((type, fields)))
    return events


@pytest.mark.django_db
def test_each_state_is_one_statement(backend: ResultBackend, django_assert_num_queries: Any) -> None:
    for status in (states.STARTED, "RENDERING", states.RETRY, states.SUCCESS):
        with django_assert_num_queries(1):
            backend.store_result("job", {"n": 1}, status)

    assert TaskResult.objects.get().status == states.SUCCESS


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("before", "after", "stands"),
    [
        ("RENDERING", states.SUCCESS, states.SUCCESS),
        (states.RETRY, states.STARTED, states.STARTED),
        (states.SUCCESS, states.STARTED, states.SUCCESS),
        (states.SUCCESS, "RENDERING", states.SUCCESS),
        (states.FAILURE, states.RETRY, states.FAILURE),
        (states.REVOKED, "RENDERING", states.REVOKED),
        (states.SUCCESS, states.REVOKED, states.SUCCESS),
        (states.FAILURE, states.SUCCESS, states.SUCCESS),
    ],
)
def test_a_finished_job_never_goes_back(backend: ResultBackend, before: str, after: str, stands: str) -> None:
    result: Any = ValueError("no") if before in states.EXCEPTION_STATES else before
    backend.store_result("job", result, before)
    result = ValueError("no") if after in states.EXCEPTION_STATES else after
    backend.store_result("job", result, after)

    assert backend.get_state("job") == stands


@pytest.mark.django_db
def test_when_it_started_and_was_first_seen_is_kept(backend: ResultBackend) -> None:
    backend.store_result("job", None, states.STARTED)
    first: Any = TaskResult.objects.get()
    backend.store_result("job", 3, states.SUCCESS)
    last: Any = TaskResult.objects.get()

    assert first.date_started is not None
    assert (last.date_started, last.date_created) == (first.date_started, first.date_created)
    assert last.date_done >= first.date_done
    assert backend.get_result("job") == 3


@pytest.mark.django_db
def test_a_state_of_the_jobs_own_becomes_an_event(
    backend: ResultBackend, told: list[tuple[str, dict[str, Any]]]
) -> None:
    backend.store_result("job", {"current": 1, "total": 2}, "RENDERING")
    backend.store_result("job", ValueError("later"), states.RETRY)
    backend.store_result("job", 3, states.SUCCESS)

    assert told == [
        ("job-progress", {"uuid": "job", "state": "RENDERING", "meta": {"current": 1, "total": 2}})
    ]


@pytest.mark.django_db
def test_old_results_are_swept_and_young_ones_stay(backend: ResultBackend) -> None:
    for number in range(1203):
        backend.store_result(f"old-{number}", None, states.SUCCESS)
    TaskResult.objects.update(date_done=timezone.now() - timedelta(seconds=backend.expires + 60))
    backend.store_result("young", None, states.SUCCESS)

    backend.cleanup()

    assert list(TaskResult.objects.values_list("task_id", flat=True)) == ["young"]


@pytest.mark.django_db
def test_old_claims_go_even_where_results_stay_but_not_those_that_are_held(
    backend: ResultBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backend, "expires", None)
    for job in ("old", "held", "young"):
        lease = 30.0 if job == "held" else -1e7
        assert claims.claim(Claim, job, 0, "token", lease, "default") is not None
    Claim.objects.exclude(pk="young").update(at=timezone.now() - CLAIMS_KEPT * 1.01)
    backend.store_result("kept", None, states.SUCCESS)
    TaskResult.objects.update(date_done=timezone.now() - timedelta(days=1000))

    backend.cleanup()

    assert set(Claim.objects.values_list("task_id", flat=True)) == {"held", "young"}
    assert TaskResult.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_a_write_is_repeated_on_a_new_connection_after_a_fault(
    backend: ResultBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    faults = [OperationalError("server closed the connection unexpectedly")]

    def fail_once(execute: Any, *arguments: Any) -> Any:
        if faults:
            raise faults.pop()
        return execute(*arguments)

    connection.ensure_connection()
    before = connection.connection
    with connection.execute_wrapper(fail_once):
        backend.store_result("job", 3, states.SUCCESS)

    assert backend.get_result("job") == 3
    assert connection.connection is not before


@pytest.mark.django_db(transaction=True)
def test_a_broken_connection_is_replaced_before_the_next_job(monkeypatch: pytest.MonkeyPatch) -> None:
    connection.ensure_connection()
    monkeypatch.setattr(
        connection, "close_at", None
    )  # in web processes, and after dashboard.asgi, they have an age
    whole = connection.connection
    signals.task_prerun.send(sender=tasks.add, task=tasks.add)
    assert connection.connection is whole

    monkeypatch.setattr(connection, "errors_occurred", True)
    monkeypatch.setattr(connection, "is_usable", lambda: False)
    signals.task_prerun.send(sender=tasks.add, task=tasks.add)
    assert connection.connection is None


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has no server to lose")
def test_a_worker_whose_connections_the_server_cuts_runs_on(installation: Installation) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        [before_the_worker] = cursor.fetchone()
    worker(installation, slots=2)
    for number in range(6):
        assert tasks.count_results.delay().get(timeout=20) >= number
        with connection.cursor() as cursor:  # threads of other tests keep theirs
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND backend_start > %s",
                [before_the_worker],
            )
            assert cursor.rowcount
        sent = [tasks.add.delay(number, n) for n in range(4)]
        assert [job.get(timeout=20) for job in sent] == [number + n for n in range(4)]


def test_progress_is_written_at_most_twice_a_second_and_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[float] = []
    clock = count(1000.0, 0.1)
    monkeypatch.setattr("workers.task.time.monotonic", lambda: next(clock))
    monkeypatch.setattr(tasks.add, "update_state", lambda state, meta: written.append(meta["current"]))
    job: Any = tasks.add
    job.push_request(id="job")

    for step in range(1, 15):
        job.progress(step, 14, shelf="A")

    job.pop_request()
    assert written == [1, 6, 11, 14]


def test_a_worker_keeps_its_connection_reports_progress_and_ends_a_chord_once(
    installation: Installation, redis_server: RedisServer
) -> None:
    worker(installation, slots=2)

    rendering = tasks.render.delay(3)
    assert rendering.get(timeout=20) == "rendered"
    connections = {tasks.which_connection.apply_async().get(timeout=20) for _ in range(8)}
    assert len(connections) <= 2  # one for each slot, not one for each job

    assert chord([tasks.add.s(n, n) for n in range(8)])(tasks.total.s()).get(timeout=20) == 56
    assert not ChordCounter.objects.exists()
    assert TaskResult.objects.filter(task_name="tests.tasks.total").count() == 1

    told = eventually(lambda: progress_of(redis_server, rendering.id))
    assert told == [("RENDERING", {"current": n, "total": 3}) for n in (1, 2, 3)]


def progress_of(redis_server: RedisServer, job: str) -> list[tuple[str, Any]]:
    """The progress events of a job in the stream."""
    told = events(redis_server)
    return [(e["state"], e["meta"]) for e in told if e["type"] == "job-progress" and e["uuid"] == job]


@pytest.mark.django_db(transaction=True)
def test_a_job_can_be_sent_from_celerys_own_command_line(installation: Installation) -> None:
    sent = installation.start(
        "call", python("-m", "celery", "-A", "workers", "call", "celery.backend_cleanup")
    )
    assert sent.wait() == 0, sent.text()
    assert len(sent.text().split()[-1]) == 36
