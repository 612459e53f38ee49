"""Who writes next."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext

from django.db import connection, transaction

from jobs.store.turn_file import PATIENCE_SECONDS, turn_among_processes

# How long the threads of one process may write one after the other while another process waits.
SHARED_SECONDS = 0.03


@contextmanager
def written() -> Iterator[None]:
    """A transaction that writes, when it is this thread's turn."""
    with turn(), transaction.atomic():
        yield


@contextmanager
def deleted() -> Iterator[None]:
    """A transaction that deletes: if the machine ends before it is on disk, it is done again.

    So on PostgreSQL it waits for no disk, and leaves that to the commits of others.
    """
    with written():
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute("SET LOCAL synchronous_commit = off")
        yield


@contextmanager
def turn() -> Iterator[None]:
    """SQLite has one writer at a time, and who waits for it asks again after ever longer pauses.

    So the threads of one process, and the processes, take turns: the next one begins when the one
    before it ends.
    """
    path = str(connection.settings_dict["NAME"])
    if connection.vendor != "sqlite" or connection.in_atomic_block:
        yield
        return
    # In memory: no other process has it.
    others = turn_among_processes(path, PATIENCE_SECONDS) if os.path.isfile(path) else nullcontext()
    with _queue.turn(others):
        yield


class Queue:
    """The threads of this process: one writes, and hands the process's turn on to the next that waits.

    For SHARED_SECONDS at most; then other processes have theirs.
    """

    def __init__(self) -> None:
        self._begin()
        os.register_at_fork(after_in_child=self._begin)

    def _begin(self) -> None:
        self._lock, self._counting = threading.Lock(), threading.Lock()
        self._waiting = 0
        self._ours: ExitStack | None = None
        self._until = 0.0

    @contextmanager
    def turn(self, among_processes: AbstractContextManager[None]) -> Iterator[None]:
        """A turn of this thread; `among_processes` is entered if this process has none."""
        self._wait()
        try:
            ours = self._ours or self._entered(among_processes)
            try:
                yield
            finally:
                if not self._waiting or time.monotonic() > self._until:
                    self._ours = None
                    ours.close()
        finally:
            self._lock.release()

    def is_taken(self) -> bool:
        """Whether a thread of this process has its turn."""
        return self._lock.locked()

    def _wait(self) -> None:
        """Until the lock is ours; an exception may come meanwhile, such as a time limit of a task."""
        self._count(1)
        try:
            self._lock.acquire()
        finally:
            self._count(-1)

    def _entered(self, among_processes: AbstractContextManager[None]) -> ExitStack:
        ours = ExitStack()
        ours.enter_context(among_processes)
        self._ours, self._until = ours, time.monotonic() + SHARED_SECONDS
        return ours

    def _count(self, change: int) -> None:
        with self._counting:
            self._waiting += change


_queue = Queue()
