"""Whose turn it is to write to SQLite, among processes: two bytes of a file beside the database are locked.

SQLite's own lock goes to whoever asks at the right moment, and who asks in
vain pauses ever longer; a monitor that has much to write is there again at
once. Here each waits at most for those that came before it.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

# Who holds the second writes; who holds the first is the next to.
_NEXT, _NOW = 0, 1
GLANCE_SECONDS = 0.001


@contextmanager
def turn_among_processes(path: str, patience: float) -> Iterator[None]:
    """A turn to write to the database at `path`; without one, after `patience` seconds.

    A process holds one at a time: its locks are its own, not those of a thread.
    """
    file = os.open(f"{path}-turn", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        until = time.monotonic() + patience
        _taken(file, _NEXT, until)
        _taken(file, _NOW, until)
        fcntl.lockf(file, fcntl.LOCK_UN, 1, _NEXT)
        yield
    finally:
        os.close(file)  # and with it goes what it has locked


def _taken(file: int, byte: int, until: float) -> bool:
    while not _is_ours(file, byte):
        if time.monotonic() > until:
            return False
        time.sleep(GLANCE_SECONDS)
    return True


def _is_ours(file: int, byte: int) -> bool:
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, byte)
    except (BlockingIOError, PermissionError):  # which of them differs from system to system
        return False
    return True
