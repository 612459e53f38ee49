"""Who writes next."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from django.db import connection, transaction

from jobs.store.turn_file import turn_among_processes

_turn = threading.Lock()


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
    if connection.vendor != "sqlite" or connection.in_atomic_block:
        yield
        return
    with _turn, _among_processes():
        yield


def _among_processes() -> AbstractContextManager[None]:
    path = str(connection.settings_dict["NAME"])
    if not os.path.isfile(path):  # in memory: no other process has it
        return nullcontext()
    return turn_among_processes(path, float(connection.settings_dict["OPTIONS"].get("timeout", 5.0)))
