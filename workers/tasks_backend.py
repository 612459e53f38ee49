"""Django's Tasks interface on Celery: `@task` and `.enqueue()` go through the outbox, and are recorded.

Each function decorated with `@task` is a Celery task under the function's own
path, so that pages and metrics name it. From Django 6 on the interface is
`django.tasks`; before, it is the package django-tasks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from importlib import import_module
from inspect import signature
from typing import Any

import django
import orjson
from django.db import transaction
from django.utils import timezone
from django_celery_results.models import TaskResult as StoredResult

from jobs.enqueued import remember
from jobs.models import Attempt, Cluster, Enqueued, Job, Outgoing, Payload, State
from workers import large
from workers.app import app
from workers.enqueue import EnqueueError, using
from workers.models import LargeResult

PACKAGE = "django.tasks" if django.VERSION >= (6, 0) else "django_tasks"
base = import_module(f"{PACKAGE}.base")
DEFAULT_QUEUE = import_module(PACKAGE).DEFAULT_TASK_QUEUE_NAME
backends = import_module(f"{PACKAGE}.backends.base")
exceptions = import_module(f"{PACKAGE}.exceptions")
signals = import_module(f"{PACKAGE}.signals")

# As Django 6 calls it, and as the package does.
InvalidTask = getattr(exceptions, "InvalidTask", None) or exceptions.InvalidTaskError
Status = base.TaskResultStatus
STATUS = {
    State.RUNNING: Status.RUNNING,
    State.SUCCEEDED: Status.SUCCESSFUL,
    State.FAILED: Status.FAILED,
    State.REVOKED: Status.FAILED,
    State.REJECTED: Status.FAILED,
}
HIGHEST, USUAL = 9, 5


class CeleryBackend(backends.BaseTaskBackend):  # type: ignore[misc, name-defined]
    """The backend for settings.TASKS."""

    supports_defer = True
    supports_async_task = True
    supports_get_result = True
    supports_priority = True

    def validate_task(self, task: Any) -> None:
        """Django asks as a task is defined: the moment to make it known to Celery."""
        super().validate_task(task)
        if task.module_path not in app.tasks:
            app.task(name=task.module_path, bind=True)(_runner(task))

    def enqueue(self, task: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Raises InvalidTask for arguments that don't fit, and where `workers.enqueue` refuses."""
        self.validate_task(task)
        options = using(queue=_named(task), priority=_told(task), eta=task.run_after)
        try:
            signature(task.func).bind(*[None] * task.takes_context, *args, **kwargs)
            with transaction.atomic():
                job = options.enqueue(task.module_path, *args, **kwargs)
                remember(job.id, task.module_path)
        except (EnqueueError, TypeError) as fault:
            raise InvalidTask(str(fault)) from fault
        result = self._result(task, job.id, list(args), dict(kwargs), enqueued_at=timezone.now())
        signals.task_enqueued.send(type(self), task_result=result)
        return result

    def get_result(self, result_id: str) -> Any:
        """What the record knows. Raises TaskResultDoesNotExist."""
        if (job := Job.objects.filter(cluster=Cluster.DEFAULT_ID, task_id=result_id).first()) is not None:
            return self._of_job(job)
        if (waiting := Outgoing.objects.filter(task_id=result_id).first()) is not None:
            return self._of_waiting(waiting)
        if (asked := Enqueued.objects.filter(task_id=result_id).first()) is not None:
            return self._of_unrecorded(asked)
        raise exceptions.TaskResultDoesNotExist(result_id)

    def _of_waiting(self, row: Outgoing) -> Any:
        args, kwargs, _ = orjson.loads(row.body)
        return self._result(_function_task(row.task), row.task_id, args, kwargs, enqueued_at=row.created_at)

    def _of_unrecorded(self, row: Enqueued) -> Any:
        """It is with the broker, and the record has not heard of it yet: what it was given isn't known."""
        return self._result(_function_task(row.task), row.task_id, [], {}, enqueued_at=row.at)

    def _of_job(self, job: Job) -> Any:
        task = _function_task(job.task)
        payload = Payload.objects.filter(job=job).first()
        args, kwargs = _known(payload and payload.args, []), _known(payload and payload.kwargs, {})
        attempts = list(Attempt.objects.filter(job=job))
        result = self._result(
            task, job.task_id, args, kwargs,
            status=STATUS.get(State(job.state), Status.READY),
            enqueued_at=job.published_at, started_at=attempts[0].started_at if attempts else job.started_at,
            finished_at=job.ended_at, last_attempted_at=job.started_at,
            errors=[_error(attempt) for attempt in attempts if attempt.exception],
            worker_ids=[attempt.worker for attempt in attempts if attempt.worker and attempt.started_at],
        )  # fmt: skip
        if result.status == Status.SUCCESSFUL:
            object.__setattr__(result, "_return_value", _returned(job.task_id))
        return result

    def _result(
        self, task: Any, task_id: str, args: list[Any], kwargs: dict[str, Any], *,
        status: Any = Status.READY, enqueued_at: datetime | None = None, started_at: datetime | None = None,
        finished_at: datetime | None = None, last_attempted_at: datetime | None = None,
        errors: Sequence[Any] = (), worker_ids: Sequence[str] = (),
    ) -> Any:  # fmt: skip
        return base.TaskResult(
            task=task, id=task_id, status=status, enqueued_at=enqueued_at, started_at=started_at,
            finished_at=finished_at, last_attempted_at=last_attempted_at, args=args, kwargs=kwargs,
            backend=self.alias, errors=list(errors), worker_ids=list(worker_ids),
        )  # fmt: skip


def _named(task: Any) -> str | None:
    """Its queue; None for Django's default, for which routes speak, or Celery's own default."""
    return None if task.queue_name == DEFAULT_QUEUE else str(task.queue_name)


def _told(task: Any) -> int | None:
    return None if task.priority == base.DEFAULT_TASK_PRIORITY else celery_priority(task.priority)


def celery_priority(priority: int) -> int:
    """-100 … 0 … 100 as 0 … 5 … 9."""
    if priority >= 0:
        return USUAL + round(priority * (HIGHEST - USUAL) / 100)
    return USUAL + round(priority * USUAL / 100)


def _runner(task: Any) -> Any:
    """The Celery task: Django's function, with its context if it takes one, between Django's signals."""

    def run(self: Any, *args: Any, **kwargs: Any) -> Any:
        backend = task.get_backend()
        now = timezone.now()
        worker = [self.request.hostname or "?"] * (self.request.retries + 1)
        told = {"started_at": now, "last_attempted_at": now, "worker_ids": worker}
        result = backend._result(task, self.request.id, list(args), kwargs, status=Status.RUNNING, **told)
        context = [base.TaskContext(task_result=result)] if task.takes_context else []
        signals.task_started.send(type(backend), task_result=result)
        outcome = Status.FAILED
        try:
            value = task.call(*context, *args, **kwargs)
            outcome = Status.SUCCESSFUL
        finally:
            object.__setattr__(result, "status", outcome)
            object.__setattr__(result, "finished_at", timezone.now())
            signals.task_finished.send(type(backend), task_result=result)
        return value

    run.__doc__ = task.func.__doc__
    return run


def _function_task(name: str | None) -> Any:
    """The Django task of a function's path. Raises TaskResultDoesNotExist for a job of something else."""
    module, _, function = (name or "").rpartition(".")
    try:
        found = getattr(import_module(module), function, None) if module else None
    except ImportError:
        found = None
    if not isinstance(found, base.Task):
        raise exceptions.TaskResultDoesNotExist(f"{name} is no task of Django's")
    return found


def _known(text: str | None, otherwise: Any) -> Any:
    """What was captured of the arguments; secrets are hidden in it."""
    try:
        return orjson.loads(text) if text else otherwise
    except orjson.JSONDecodeError:
        return otherwise


def _error(attempt: Attempt) -> Any:
    """Celery tells the exception as its repr."""
    name = (attempt.exception or "").partition("(")[0]
    path = name if "." in name else f"builtins.{name}"
    return base.TaskError(exception_class_path=path, traceback=attempt.traceback or "")


def _returned(task_id: str) -> Any:
    stored = StoredResult.objects.filter(task_id=task_id).values_list("result", flat=True).first()
    result = _known(stored, None)
    if not large.is_mark(result):
        return result
    try:
        return _known(large.fetch(task_id), None)
    except LargeResult.DoesNotExist:  # it has had its time
        return None
