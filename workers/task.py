"""The base task of this project: what a job may ask of us, and what it is spared."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import Any, ClassVar

import redis
from celery.contrib.django.task import DjangoTask
from celery.exceptions import Reject
from kombu.exceptions import OperationalError

import nightdesk
from workers import effects, joblogs, limits, loop, reports
from workers.putting_back import PutBack
from workers.retries import retrying
from workers.running import Run, current, run_of

# How often a running job may look whether it has been cancelled, in seconds.
LOOK_INTERVAL = 0.5
BROKER_AWAY = (OperationalError, OSError, redis.RedisError)


class Task(DjangoTask[..., Any]):
    """What every task here is: Celery's task for Django, with promises of our own.

    Each attribute may be given to `@app.task(…)` or `@shared_task(…)`, beside
    Celery's own (`autoretry_for`, `time_limit`, `rate_limit`, …), which keep
    their meaning. Whoever overrides `before_start` calls this one.

    `idempotent`: it may run twice at once; it is spared the claim.
    `transient`: faults after which it is retried, waiting up to `backoff` · 2ⁿ
    seconds, at most `backoff_cap`. `concurrency`: so many run at once, over
    all workers; `rate`: so many start ("100/m"), `burst` of them at once after a
    rest; each counted for all jobs of the task, or by `concurrency_key` and
    `rate_key`, functions of the job's arguments. `alert_on_failure`: a final
    failure is told as an alert.
    """

    Request = "workers.request:Request"
    # What no caller, route or task names is completed as it is published: a default here hides a route's.
    from_config = tuple(told for told in DjangoTask.from_config if told[0] != "priority")

    PROGRESS: ClassVar[str] = "PROGRESS"
    PROGRESS_INTERVAL: ClassVar[float] = reports.INTERVAL

    idempotent: ClassVar[bool] = False
    transient: ClassVar[tuple[type[Exception], ...]] = ()
    backoff: ClassVar[float] = 1.0
    backoff_cap: ClassVar[float] = 600.0
    backoff_jitter: ClassVar[bool] = True
    concurrency: ClassVar[int | None] = None
    concurrency_key: ClassVar[Callable[..., object] | None] = None
    rate: ClassVar[str | None] = None
    rate_key: ClassVar[Callable[..., object] | None] = None
    burst: ClassVar[int] = 1
    steps: ClassVar[int | None] = None
    alert_on_failure: ClassVar[bool] = False

    def __init__(self) -> None:
        limits.check(self)
        run: Any = self.run
        if inspect.iscoroutinefunction(run):
            run = loop.awaiting(self, run)
        self.run = retrying(self, run)  # type: ignore[method-assign]

    def _get_request(self) -> Any:
        """Celery keeps it by thread; a coroutine of the job has it, too."""
        stack: Any = self.request_stack
        if stack.top is None and (run := current.get()) is not None and run.task is self:
            return run.request
        return super()._get_request()  # type: ignore[misc]

    request = property(_get_request)

    def before_start(self, task_id: str, args: Any, kwargs: Any) -> None:
        """Wait for limits, claim the job; raises PutBack or Ignore where it must not run now, or ever."""
        request: Any = self.request
        if request.is_eager:
            return
        run = Run(self, request)
        took_slot = limits.begin(run, time.sleep)
        with ExitStack() as refused:
            refused.callback(limits.give_up, run, took_slot)
            if not self.idempotent:
                effects.begin(run)
            refused.pop_all()
        current.set(run)  # from here on `finish` settles what was taken
        joblogs.begin(run)

    def retry(  # type: ignore[override]
        self, args: Any = None, kwargs: Any = None, exc: Any = None, throw: bool = True, **options: Any
    ) -> Any:
        """As Celery's; with the broker away the retry waits in the outbox. Raises PutBack if it can't."""
        again = partial(super().retry, args, kwargs, exc, **options)
        try:
            return again(throw=throw)
        except Reject as fault:
            reason: Any = fault.args[0]
            if isinstance(fault, PutBack) or not isinstance(reason, BROKER_AWAY):
                raise
        from workers.late_retries import retry_by_outbox  # it needs the app, which needs this class

        told = retry_by_outbox(partial(again, throw=False))
        if throw:
            raise told
        return told

    @property
    def ctx(self) -> loop.Context:
        """What the hooks of `workers.loop` and `async def` jobs of this process share."""
        return loop.loop().ctx

    def progress(self, current: float, total: float, **meta: Any) -> None:
        """Say how far the running job is; written at most twice a second, and at the end.

        `meta` is shown beside it and must be JSON.
        """
        reports.report(self, self.PROGRESS, {"current": current, "total": total, **meta}, current >= total)

    def step(self, label: str, of: int | None = None, **meta: Any) -> None:
        """Say that the next step of the running job begins; `of`: how many there are, if not `self.steps`."""
        run = run_of(self.request.id)
        if run is not None:
            run.steps += 1
            told = {"step": run.steps, "label": label, "current": run.steps - 1}
            total = {"total": of or self.steps} if of or self.steps else {}
            reports.report(self, self.PROGRESS, {**told, **total, **meta}, False)

    def report(self, state: str, **meta: Any) -> None:
        """Say that the job is in a state of its own, such as "RENDERING": at most twice a second."""
        reports.report(self, state, meta, False)

    def cancelled(self) -> bool:
        """Whether somebody wants the running job to end, or has taken it over: may be asked in a loop."""
        run = run_of(self.request.id)
        if run is None:
            return False
        now = time.monotonic()
        if not run.cancelled and now >= run.look_at:
            run.look_at = now + LOOK_INTERVAL
            run.cancelled = _is_revoked(run)
        return run.cancelled or run.lost


def _is_revoked(run: Run) -> bool:
    try:
        return limits.aside().revoked(run.task_id)
    except redis.RedisError:  # it will be asked again
        return False


def finish(task_id: str, state: str | None = None, retval: Any = None, **_: Any) -> None:
    """A receiver of Celery's `task_postrun`: an execution is over, however it ended."""
    run = run_of(task_id)
    if run is None:
        return
    current.set(None)
    reports.end(run)
    joblogs.end(run)
    effects.end(run, state, retval)
    limits.end(run)


def tell_alert(sender: Any, task_id: str, exception: Any, **_: Any) -> None:
    """A receiver of Celery's `task_failure`: whoever is on duty wants to know of this one."""
    if not getattr(sender, "alert_on_failure", False):
        return
    told = {"uuid": task_id, "name": sender.name, "exception": repr(exception)[:500]}
    nightdesk.emit("job-alert", **told)
    effects.logger.error("job %(uuid)s of %(name)s failed for good: %(exception)s", told)
