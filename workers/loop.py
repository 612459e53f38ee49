"""`async def` tasks: one event loop a process, on a thread of its own.

    @on_startup
    async def open_client(ctx): ctx["http"] = await connect()

    @app.task(bind=True)
    async def fetch(self, url): return await self.ctx["http"].get(url)

The hooks run once a process: before its first `async def` job, and as it
leaves. A coroutine sees the context variables of the job that awaits it, and
is cancelled at the job's soft time limit.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import Future
from contextvars import copy_context
from functools import wraps
from typing import Any

from celery.exceptions import SoftTimeLimitExceeded
from celery.utils.log import get_logger

logger = get_logger(__name__)

Context = dict[str, Any]
Hook = Callable[[Context], Awaitable[None]]

# How long a cancelled coroutine may clear up, and the hooks at the end may take, in seconds.
CLEARING_UP = 5.0
LEAVING = 5.0

_on_startup: list[Hook] = []
_on_shutdown: list[Hook] = []


def on_startup(hook: Hook) -> Hook:
    """Have `hook(ctx)` awaited before the first `async def` job of each process."""
    _on_startup.append(hook)
    return hook


def on_shutdown(hook: Hook) -> Hook:
    """Have `hook(ctx)` awaited when a process leaves in peace."""
    _on_shutdown.append(hook)
    return hook


class Loop:
    """The event loop of this process; `ctx` is what its hooks and jobs share."""

    def __init__(self) -> None:
        self.ctx: Context = {}
        self._loop = asyncio.new_event_loop()
        self._lock = threading.Lock()
        self._started = False
        threading.Thread(target=self._run_on, name="async jobs", daemon=True).start()

    def _run_on(self) -> None:
        """A coroutine that wants to exit stops the loop, once its future has the exception: go on."""
        while True:
            try:
                return self._loop.run_forever()
            except (SystemExit, KeyboardInterrupt):
                continue

    def run(self, coroutine: Coroutine[Any, Any, Any], limit: float | None = None) -> Any:
        """What the coroutine returns or raises; cancelled after `limit` seconds, or by a soft time limit."""
        self._start()
        work = _Work(self._loop, coroutine)
        try:
            return work.wait(limit)
        except SoftTimeLimitExceeded:
            work.cancel()
            return work.wait_for_end()

    def stop(self) -> None:
        """Await the hooks at the end, and end the loop."""
        with self._lock:
            started, self._started = self._started, False
        if started:
            for hook in reversed(_on_shutdown):
                try:
                    _Work(self._loop, _awaited(hook, self.ctx)).wait(LEAVING)
                except Exception:  # the next hook has to be awaited as well
                    logger.warning("a hook failed as the process left", exc_info=True)
        self._loop.call_soon_threadsafe(self._loop.stop)

    def _start(self) -> None:
        with self._lock:
            if not self._started:
                for hook in _on_startup:
                    _Work(self._loop, _awaited(hook, self.ctx)).wait(None)
                self._started = True


class _Work:
    """A coroutine on the loop, awaited by another thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, Any]) -> None:
        self._loop = loop
        self._end: Future[Any] = Future()
        self._task: asyncio.Task[Any] | None = None
        loop.call_soon_threadsafe(self._begin, coroutine, context=copy_context())

    def _begin(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        self._task = self._loop.create_task(coroutine)
        self._task.add_done_callback(self._note_end)

    def _note_end(self, task: asyncio.Task[Any]) -> None:
        if task.cancelled():
            self._end.set_exception(SoftTimeLimitExceeded())
        elif fault := task.exception():
            self._end.set_exception(fault)
        else:
            self._end.set_result(task.result())

    def wait(self, seconds: float | None) -> Any:
        try:
            return self._end.result(seconds)
        except TimeoutError:
            if self._end.done():  # the coroutine's own
                raise
            raise SoftTimeLimitExceeded from None

    def cancel(self) -> None:
        self._loop.call_soon_threadsafe(lambda: self._task and self._task.cancel())

    def wait_for_end(self) -> Any:
        return self.wait(CLEARING_UP)


async def _awaited(hook: Hook, ctx: Context) -> None:
    await hook(ctx)


_loop: Loop | None = None
_making = threading.Lock()


def loop() -> Loop:
    """The one of this process."""
    global _loop
    with _making:
        if _loop is None:
            _loop = Loop()
        return _loop


def stop() -> None:
    """End the loop of this process, if it has one."""
    global _loop
    with _making:
        ended, _loop = _loop, None
    if ended is not None:
        ended.stop()


def _forget_the_parents_loop() -> None:
    global _loop, _making
    _loop, _making = None, threading.Lock()


os.register_at_fork(after_in_child=_forget_the_parents_loop)


def awaiting(task: Any, run: Callable[..., Coroutine[Any, Any, Any]]) -> Callable[..., Any]:
    """An `async def` task as Celery calls it: run it on the loop, and wait."""

    @wraps(run)
    def await_it(*args: Any, **kwargs: Any) -> Any:
        return loop().run(run(*args, **kwargs), _limit(task))

    return await_it


def _limit(task: Any) -> float | None:
    """The soft time limit, where no signal tells of it: outside of the main thread."""
    if threading.current_thread() is threading.main_thread():
        return None
    _, soft = task.request.timelimit or (None, None)
    limit = soft or task.soft_time_limit
    return float(limit) if limit else None
