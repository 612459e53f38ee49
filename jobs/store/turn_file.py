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
from contextlib import contextmanager, suppress

# Who holds the second writes; who holds the first is the next to.
_NEXT, _NOW = 0, 1
GLANCE_SECONDS = 0.001
# Whoever has a turn for so long is frozen; SQLite's own lock must do for a while then.
PATIENCE_SECONDS = 2.0
VAIN_SECONDS = 10.0


class _Vain:
    """Until when nobody here waits for a turn, since somebody who has it stands still."""

    until = float("-inf")


_vain = _Vain()


@contextmanager
def turn_among_processes(path: str, patience: float) -> Iterator[None]:
    """A turn to write to the database at `path`; without one, after `patience` seconds.

    Without one, too, where the file can't be opened or locked. A process holds one
    at a time: its locks are its own, not those of a thread.
    """
    file = _opened(path) if time.monotonic() > _vain.until else None
    try:
        if file is not None:
            _wait(file, time.monotonic() + patience)
        yield
    finally:
        if file is not None:
            os.close(file)  # and with it goes what it has locked


def _opened(path: str) -> int | None:
    """The file, for whoever may write to the database; None if it can't be had."""
    name = f"{path}-turn"
    file = _open(name)
    if file is None:
        file = _made(name, path)
    return _open(name) if file is None else file  # somebody else may just have made it


def _open(name: str, flags: int = 0) -> int | None:
    try:
        return os.open(name, os.O_RDWR | os.O_CLOEXEC | flags, 0o600)
    except OSError:
        return None


def _made(name: str, path: str) -> int | None:
    """Open to the same people as the database, whoever comes first."""
    file = _open(name, os.O_CREAT | os.O_EXCL)
    if file is not None:
        with suppress(OSError):
            known = os.stat(path)
            if os.geteuid() == 0:
                os.fchown(file, known.st_uid, known.st_gid)
            os.fchmod(file, known.st_mode & 0o666)
    return file


def _wait(file: int, until: float) -> None:
    try:
        if not (_taken(file, _NEXT, until) and _taken(file, _NOW, until)):
            _vain.until = time.monotonic() + VAIN_SECONDS
        fcntl.lockf(file, fcntl.LOCK_UN, 1, _NEXT)
    except OSError:
        return  # no locks on this file system: SQLite's own must do


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
