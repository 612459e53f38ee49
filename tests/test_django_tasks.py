"""Django's Tasks interface: `@task` and `.enqueue()` run on Celery, through the outbox, with results."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import transaction
from django_tasks import TaskResultStatus as Status
from django_tasks import default_task_backend
from django_tasks.exceptions import InvalidTaskError, TaskResultDoesNotExist
from django_tasks.signals import task_enqueued

from jobs.models import Job, Outgoing
from tests import django_style, tasks
from tests.harness import Installation, eventually
from tests.harness.processes import python
from tests.working import lines
from workers.app import app
from workers.dispatch import dispatcher
from workers.enqueue import enqueue
from workers.models import LargeResult
from workers.tasks_backend import celery_priority

pytestmark = [pytest.mark.usefixtures("redis_url"), pytest.mark.django_db(transaction=True)]


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is enqueued stays in the outbox to be looked at."""
    monkeypatch.setattr(dispatcher, "post", lambda rows: None)


def start(installation: Installation) -> None:
    installation.monitor()
    argv = python("-m", "celery", "-A", "workers", "worker", "-I", "tests.django_style", "-Q", "default,high")
    installation.start("worker-django", [*argv, "-c", "1"]).says(" ready.")


def test_results_are_read_back(installation: Installation, tmp_path: Path) -> None:
    sums = django_style.add.enqueue(2, right=3)
    doubled = django_style.double.enqueue(21)
    failed = django_style.fail.enqueue("no luck")
    ran = django_style.attempt.enqueue(str(tmp_path / "ran"))
    assert sums.status == Status.READY
    start(installation)
    results: list[Any] = [sums, doubled, failed, ran]
    eventually(lambda: all(_refreshed(result).is_finished for result in results), message="all have ended")
    assert [sums.return_value, results[1].return_value, ran.return_value] == [5, 42, 1]
    assert (sums.args, sums.kwargs) == ([2], {"right": 3})
    assert failed.status == Status.FAILED
    assert failed.errors[0].exception_class is ValueError
    assert "no luck" in failed.errors[0].traceback
    assert lines(tmp_path / "ran") == [f"{ran.id} 1"]
    assert sums.attempts == 1
    assert Job.objects.get(task_id=sums.id).task == "tests.django_style.add"


def _refreshed(result: Any) -> Any:
    result.refresh()
    return result


def test_a_result_is_found_between_the_outbox_and_the_record() -> None:
    result = django_style.add.enqueue(1, 2)
    eventually(
        lambda: not Outgoing.objects.exists(), message="it is with the broker, and no monitor is there"
    )
    found = django_style.add.get_result(result.id)
    assert (found.status, found.task.name) == (Status.READY, "add")


@pytest.mark.usefixtures("kept")
class TestEnqueuing:
    def test_it_goes_with_the_transaction(self) -> None:
        with transaction.atomic():
            django_style.add.enqueue(1, 2)
            transaction.set_rollback(True)
        assert not Outgoing.objects.exists()

    def test_queue_priority_and_run_after_hold(self) -> None:
        later = datetime.now(UTC) + timedelta(hours=2)
        django_style.note.using(run_after=later).enqueue("file", "text")
        row = Outgoing.objects.get()
        assert (row.queue, row.priority, row.due_at) == ("high", 9, later)

    def test_a_result_that_waits_is_found(self) -> None:
        result = django_style.add.enqueue(1, 2)
        found = django_style.add.get_result(result.id)
        assert (found.status, found.args) == (Status.READY, [1, 2])

    def test_what_is_not_there_or_not_djangos_is_not_found(self) -> None:
        other = enqueue(tasks.note, "file", "text")
        for task_id in ("nothing", other.id):
            with pytest.raises(TaskResultDoesNotExist):
                default_task_backend.get_result(task_id)

    def test_wrong_arguments_are_refused_at_once(self) -> None:
        with pytest.raises(InvalidTaskError, match="missing a required argument: 'right'"):
            django_style.add.enqueue(1)  # type: ignore[call-arg]

    def test_a_queue_that_nobody_reads_is_refused(self) -> None:
        with pytest.raises(InvalidTaskError, match="not valid"):
            django_style.add.using(queue_name="nowhere")

    def test_djangos_signals_are_sent(self) -> None:
        heard: list[str] = []

        def hear(task_result: Any, **_: Any) -> None:
            heard.append(task_result.id)

        task_enqueued.connect(hear)
        try:
            result = django_style.add.enqueue(1, 2)
        finally:
            task_enqueued.disconnect(hear)
        assert heard == [result.id]

    async def test_async_code_has_its_twins(self) -> None:
        result = await django_style.add.aenqueue(1, 2)
        assert (await django_style.add.aget_result(result.id)).id == result.id


@pytest.mark.parametrize(("given", "meant"), [(-100, 0), (-50, 3), (0, 5), (25, 6), (50, 7), (100, 9)])
def test_priorities_keep_their_order(given: int, meant: int) -> None:
    assert celery_priority(given) == meant


def test_a_result_that_is_stored_apart_is_read_back_as_any_other(settings: Any) -> None:
    settings.LARGE_RESULT = 100
    Job.objects.create(
        task_id="job", task="tests.django_style.add", state="succeeded", seen_at=datetime.now(UTC)
    )
    app.backend.store_result("job", "x" * 1_000, "SUCCESS")
    assert default_task_backend.get_result("job").return_value == "x" * 1_000
    LargeResult.objects.all().delete()
    assert default_task_backend.get_result("job").return_value is None
