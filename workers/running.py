"""What runs in this process now, and what is to be done for it a little later."""

from __future__ import annotations

import heapq
import os
import threading
import time
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from celery.utils.log import get_logger

from nightdesk.messages import DELIVERY

logger = get_logger(__name__)

# A task that another one has replaced keeps its id; its retries count from 0 again.
REPLACEMENT = 2**32


def attempt_of(request: Any) -> int:
    """Orders what is published under one id: replacements first, then retries."""
    return int(request.replaced_task_nesting or 0) * REPLACEMENT + int(request.retries or 0)


@dataclass(eq=False)
class Run:
    """One execution of a job in this process.

    `token` names its claim, `line` the line in which it holds a slot ("" for
    none). `lost`: somebody else has taken the job over. `ended`: its outcome is
    stored, and its claim with it. `over`: nothing of it is to be written any more.
    """

    task: Any
    request: Any
    token: str = ""
    line: str = ""
    lost: bool = False
    ended: bool = False
    over: bool = False
    steps: int = 0
    # A report that came too early, and when one may be written (monotonic seconds).
    pending: tuple[str, dict[str, Any]] | None = None
    report_at: float = 0.0
    cancelled: bool = False
    look_at: float = 0.0
    log: Any = None
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def task_id(self) -> str:
        return str(self.request.id)

    @property
    def retries(self) -> int:
        return int(self.request.retries or 0)

    @property
    def attempt(self) -> int:
        return attempt_of(self.request)

    def names(self) -> dict[str, Any]:
        """Fields of an event that name this attempt."""
        return {"uuid": self.task_id, "retries": self.retries, "delivery": self.request.get(DELIVERY)}


current: ContextVar[Run | None] = ContextVar("nightdesk_run", default=None)


def run_of(task_id: str | None) -> Run | None:
    """The execution at hand, if it is one of this job."""
    run = current.get()
    return run if run is not None and run.task_id == task_id else None


class Later:
    """Calls functions at their time (monotonic seconds), one after the other, on a thread of its own."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._calls: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = count()
        self._thread: threading.Thread | None = None

    def call(self, at: float, function: Callable[[], None]) -> None:
        """Call `function` at `at` or soon after."""
        with self._condition:
            heapq.heappush(self._calls, (at, next(self._numbers), function))
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="Later", daemon=True)
                self._thread.start()
            elif self._calls[0][2] is function:
                self._condition.notify()

    def _work(self) -> None:
        while True:
            function = self._next()
            try:
                function()
            except Exception:  # the top of a long-running loop
                logger.warning("what was to be done for running jobs failed", exc_info=True)

    def _next(self) -> Callable[[], None]:
        with self._condition:
            while True:
                if not self._calls:
                    self._condition.wait()
                elif (rest := self._calls[0][0] - time.monotonic()) > 0:
                    self._condition.wait(rest)
                else:
                    return heapq.heappop(self._calls)[2]


later = Later()


def _forget_the_parents_thread() -> None:
    global later
    later = Later()


os.register_at_fork(after_in_child=_forget_the_parents_thread)


class Renewed:
    """Runs for which `renew` has to be called every `interval` seconds while they last.

    Costs a short job nothing but a place in a set.
    """

    def __init__(self, interval: Callable[[], float], renew: Callable[[list[Run]], None]) -> None:
        self._interval, self._renew = interval, renew
        self._runs: set[Run] = set()
        self._lock = threading.Lock()
        self._planned = 0

    def add(self, run: Run) -> None:
        """Renew it from now on."""
        with self._lock:
            self._runs.add(run)
            planned, self._planned = self._planned, os.getpid()
        if planned != os.getpid():  # a thread is not inherited by a fork
            call_later(self._interval(), self._again)

    def discard(self, run: Run) -> None:
        """No more."""
        with self._lock:
            self._runs.discard(run)

    def runs(self) -> set[Run]:
        """Those that are renewed."""
        with self._lock:
            return set(self._runs)

    def _again(self) -> None:
        with self._lock:
            runs = list(self._runs)
            self._planned = os.getpid() if runs else 0
        if runs:
            try:
                self._renew(runs)
            finally:
                call_later(self._interval(), self._again)


def call_later(seconds: float, function: Callable[[], None]) -> None:
    """Call `function` in so many seconds, on the thread of this process that does such things."""
    later.call(time.monotonic() + seconds, function)
