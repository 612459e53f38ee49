"""`enqueue`: a job as a row of the transaction that needs it, published right after the commit.

    enqueue(charge, order.pk)
    using(queue="high", delay=60, key=f"charge-{order.pk}", about=order).enqueue(charge, order.pk)

Rolled back, it leaves no trace; with the broker away it waits; a process that
dies between commit and publish leaves it to the monitor, which publishes it
within seconds. The broker takes it once, however often it is published.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from asgiref.sync import sync_to_async
from celery.canvas import Signature
from celery.result import AsyncResult
from django.conf import settings
from django.db import models, transaction
from kombu.exceptions import EncodeError
from kombu.utils.uuid import uuid

from jobs import enqueued, outbox
from jobs.models import Cluster, Job, Outgoing
from jobs.outbox import Message
from jobs.routes import HIGHEST_PRIORITY
from workers.amqp import Caught, collecting
from workers.app import app
from workers.dispatch import dispatcher
from workers.enqueuable import EnqueueError, known_task, message_of, nearest
from workers.many import caught_many

Seconds = float | timedelta
# The arguments of one job: positional, or by name.
Call = Sequence[Any] | Mapping[str, Any]


class _KeyTaken(Exception):
    """Another canvas has the key: what this one has written is to be rolled back."""

    def __init__(self, task_id: str) -> None:
        super().__init__(task_id)
        self.task_id = task_id


@dataclass(frozen=True)
class EnqueuedJob:
    """A job that is or will be: `new` is False where one of the same idempotency key was there before."""

    id: str
    task: str
    new: bool = True
    # Its messages: a canvas may have many, under other ids than its own.
    messages: tuple[str, ...] = field(default=(), repr=False, compare=False)

    @property
    def job(self) -> Job | None:
        """The record of it; None until its first event has been recorded."""
        return Job.objects.filter(cluster=Cluster.DEFAULT_ID, task_id=self.id).first()

    @property
    def is_held(self) -> bool:
        """Whether it still waits in the outbox: not due, or the broker is away."""
        return Outgoing.objects.filter(task_id__in=self.messages or [self.id]).exists()

    @property
    def result(self) -> AsyncResult[Any]:
        """Celery's handle of its result."""
        return AsyncResult(self.id, app=app)


@dataclass(frozen=True, kw_only=True)
class Options:
    """How to enqueue. Durations are seconds or timedeltas; queue and priority are the task's own by default.

    `key` is an idempotency key: while it holds (`key_for`), another job of the
    same task under this key is the first one. `about` is the object that the
    job concerns (see `jobs.enqueued.jobs_of`). `delay` and `eta` exclude each
    other; `expires` is a moment or counts from now.
    `withdrawable`: it may be taken back until it is due, and the record hears of it only then.
    """

    queue: str | None = None
    priority: int | None = None
    delay: Seconds | None = None
    eta: datetime | None = None
    expires: Seconds | datetime | None = None
    key: str | None = None
    key_for: timedelta = timedelta(days=1)
    tags: Sequence[str] = ()
    about: models.Model | None = None
    withdrawable: bool = False

    def enqueue(self, task: Any, /, *args: Any, **kwargs: Any) -> EnqueuedJob:
        """One job of `task` (a Celery task, its name, or a canvas, which takes no arguments here).

        Raises EnqueueError for an unknown task or queue, for arguments that the
        task doesn't take or JSON can't carry, and for a body over JOB_BODY_CAP.
        """
        self._check()
        if isinstance(task, Signature):
            return self._enqueue_canvas(task, args, kwargs)
        return self._stored(known_task(task), args, kwargs)

    def enqueue_many(
        self, task: Any, calls: Iterable[Sequence[Any] | Mapping[str, Any]]
    ) -> list[EnqueuedJob]:
        """A job for each of `calls`: a sequence of positional or a mapping of keyword arguments.

        All of them or none. Without `key`, which names one job.
        """
        self._check()
        if self.key is not None:
            raise EnqueueError("a key names one job; enqueue_many makes many")
        found = known_task(task)
        if app.conf.task_always_eager:
            return [_run_after_commit(found, args, kwargs) for args, kwargs in _pairs(calls)]
        messages = [self._message(caught) for caught in _many(found, calls, self._celery_options())]
        with transaction.atomic():
            enqueued.note_many([message.task_id for message in messages], found.name, self._noted())
            outbox.put_many(messages)
            transaction.on_commit(dispatcher.sweep, robust=True)
        return [EnqueuedJob(message.task_id, found.name) for message in messages]

    async def aenqueue(self, task: Any, /, *args: Any, **kwargs: Any) -> EnqueuedJob:
        """`enqueue` for async code."""
        return await sync_to_async(partial(self.enqueue, task, *args, **kwargs))()

    async def aenqueue_many(self, task: Any, calls: Iterable[Call]) -> list[EnqueuedJob]:
        """`enqueue_many` for async code."""
        return await sync_to_async(self.enqueue_many)(task, calls)

    def _check(self) -> None:
        if self.queue is not None and self.queue not in settings.QUEUES:
            raise EnqueueError(f"there is no queue {self.queue!r}{nearest(self.queue, settings.QUEUES)}")
        if self.priority is not None and not 0 <= self.priority <= HIGHEST_PRIORITY:
            raise EnqueueError(f"priority {self.priority} is not between 0 and {HIGHEST_PRIORITY}")
        if self.delay is not None and self.eta is not None:
            raise EnqueueError("delay and eta exclude each other")
        if self.eta is not None and self.eta.tzinfo is None:
            raise EnqueueError("eta must be aware of its time zone")

    def _stored(self, task: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> EnqueuedJob:
        if app.conf.task_always_eager:
            return _run_after_commit(task, args, kwargs)
        message = self._message(_one(task, args, kwargs, self._celery_options()))
        noted = self._noted()
        if not noted:
            self._put([message])
            return EnqueuedJob(message.task_id, task.name)
        with transaction.atomic():
            first = enqueued.note(message.task_id, task.name, noted)
            if first == message.task_id:
                self._put([message])
        return EnqueuedJob(first, task.name, new=first == message.task_id)

    def _enqueue_canvas(self, canvas: Signature, args: Any, kwargs: Any) -> EnqueuedJob:
        """All messages of a canvas, and what its backend notes of it, in one transaction."""
        if args or kwargs:
            raise EnqueueError("a canvas carries its own arguments")
        name = str(canvas.task)
        if app.conf.task_always_eager:
            return _run_canvas_after_commit(canvas, name)
        try:
            with transaction.atomic():
                return self._canvas_stored(canvas, name)
        except _KeyTaken as taken:
            return EnqueuedJob(taken.task_id, name, new=False)

    def _canvas_stored(self, canvas: Signature, name: str) -> EnqueuedJob:
        with collecting() as caught:
            result = _asked(canvas.apply_async, **self._celery_options())
        noted = self._noted()
        messages = [self._message(each) for each in caught]
        ids = tuple(message.task_id for message in messages)
        if noted:
            self._note_canvas(result, ids, name, noted)
        self._put(messages)
        return EnqueuedJob(str(result.id), name, messages=ids)

    @staticmethod
    def _note_canvas(result: Any, ids: Sequence[str], name: str, noted: enqueued.Noted) -> None:
        """The canvas has the key, all of its jobs the rest. Raises _KeyTaken."""
        first = enqueued.note(result.id, name, noted)
        if first != result.id:
            raise _KeyTaken(first)
        others = sorted({*ids, *_ids_of(result)} - {result.id})
        enqueued.note_many(others, name, replace(noted, key=None, key_until=None))

    def _celery_options(self) -> dict[str, Any]:
        told = {"queue": self.queue, "priority": self.priority, "eta": self._due(), "expires": self._expiry()}
        return {name: value for name, value in told.items() if value is not None}

    def _due(self) -> datetime | None:
        return self.eta if self.delay is None else datetime.now(UTC) + _duration(self.delay)

    def _expiry(self) -> datetime | None:
        if self.expires is None or isinstance(self.expires, datetime):
            return self.expires
        return datetime.now(UTC) + _duration(self.expires)

    def _noted(self) -> enqueued.Noted:
        until = None if self.key is None else datetime.now(UTC) + self.key_for
        return enqueued.Noted.of(self.key, until, tuple(self.tags), self.about)

    def _message(self, caught: Caught) -> Message:
        eta = caught.headers.get("eta")
        due_at = None if eta is None else datetime.fromisoformat(eta)
        if due_at is not None and due_at.tzinfo is None:
            raise EnqueueError(f"{caught.task}: eta must be aware of its time zone")
        return message_of(caught, due_at, told=self.withdrawable)

    @staticmethod
    def _put(messages: Sequence[Message]) -> None:
        rows = outbox.put_in_hand(messages)
        transaction.on_commit(partial(dispatcher.post, rows), robust=True)


using = Options
_plain = Options()
enqueue = _plain.enqueue
enqueue_many = _plain.enqueue_many
aenqueue = _plain.aenqueue
aenqueue_many = _plain.aenqueue_many


def _one(task: Any, args: Sequence[Any], kwargs: Mapping[str, Any], options: Mapping[str, Any]) -> Caught:
    with collecting() as caught:
        _asked(task.apply_async, tuple(args), dict(kwargs), **options)
    return caught[0]


def _many(task: Any, calls: Iterable[Call], options: Mapping[str, Any]) -> Iterable[Caught]:
    def make(args: Sequence[Any], kwargs: Mapping[str, Any]) -> Caught:
        return _one(task, args, kwargs, options)

    caught: list[Caught] = _asked(list, caught_many(task, _pairs(calls), make))
    return caught


def _pairs(calls: Iterable[Call]) -> Iterator[tuple[tuple[Any, ...], dict[str, Any]]]:
    return (((), dict(call)) if isinstance(call, Mapping) else (tuple(call), {}) for call in calls)


def _asked(apply: Callable[..., Any], *args: Any, **options: Any) -> Any:
    try:
        return apply(*args, **options)
    except (TypeError, ValueError, EncodeError) as fault:
        raise EnqueueError(str(fault)) from fault


def _duration(given: Seconds) -> timedelta:
    return given if isinstance(given, timedelta) else timedelta(seconds=given)


def _run_after_commit(task: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> EnqueuedJob:
    """With `task_always_eager`, in tests: the job runs here, once the transaction is committed."""
    task_id = uuid()
    transaction.on_commit(lambda: task.apply(args, kwargs, task_id=task_id))
    return EnqueuedJob(task_id, task.name)


def _run_canvas_after_commit(canvas: Signature, name: str) -> EnqueuedJob:
    result = canvas.freeze()
    transaction.on_commit(canvas.apply_async)
    return EnqueuedJob(str(result.id), name)


def _ids_of(result: Any) -> Iterator[str]:
    """The ids of all that a canvas's result stands for: its steps before, its members."""
    while result is not None:
        yield result.id
        for member in getattr(result, "results", None) or ():
            yield from _ids_of(member)
        result = result.parent


__all__ = [
    "EnqueueError", "EnqueuedJob", "Options", "aenqueue", "aenqueue_many", "enqueue", "enqueue_many", "using",
]  # fmt: skip
