"""Unsent events of a process, in a file that outlives it.

Each event is appended before its `put` returns, so a process that is killed,
or that ends while Redis is away, loses none of them: whoever writes to the
same stream from the same folder next sends them in its name. An event may so
be sent twice; its producer and number tell.

A line is a number, a tab, and the event. The owner holds a lock on its file
for life, which is how others know that it is gone. Nothing is ever synced to
the disk: the file is for the end of a process, not of its machine.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

try:
    from fcntl import LOCK_EX, LOCK_NB, flock
except ImportError:  # Windows: there is no spool
    flock = None  # type: ignore[assignment]

Left = tuple[str, int, list[str]]

SUFFIX = ".events"
# Sent events are taken out of the file when there are this many bytes of them, and more than of others.
WORTH_REWRITING = 256_000


class Spool:
    """The file of one process, in the folder of those that write to one stream. Raises OSError."""

    def __init__(self, folder: str, url: str, stream: str) -> None:
        if flock is None:
            raise OSError("this system has no file locks, so there can be no spool")
        self._folder = Path(folder)
        self._make_folder()
        self._prefix = hashlib.sha256(f"{url} {stream}".encode()).hexdigest()[:12] + "-"
        self._path: Path | None = None
        self._file = -1
        self._size = 0

    @property
    def is_open(self) -> bool:
        return self._path is not None

    def open(self, producer: str) -> None:
        """Begin the file of this producer."""
        self._make_folder()
        self._replace(self._folder / f"{self._prefix}{producer}{SUFFIX}", b"")

    def append(self, seq: int, event: str) -> None:
        """Keep one event; it is there when this returns."""
        self._size += os.write(self._file, f"{seq}\t{event}\n".encode())

    def forget_sent(self, first_seq: int, unsent: Iterable[str], unsent_bytes: int) -> None:
        """What is not in `unsent` has arrived: take it out, if it is worth it."""
        if self._path is not None and self._size > WORTH_REWRITING + 2 * unsent_bytes:
            lines = "".join(f"{seq}\t{event}\n" for seq, event in enumerate(unsent, first_seq))
            self._replace(self._path, lines.encode())

    def close(self) -> None:
        """Everything has arrived, and nothing more will come."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)
        self.abandon()

    def abandon(self) -> None:
        """Leave the file to whom it belongs: after a fork that is the parent."""
        if self._file >= 0:
            os.close(self._file)
        self._path, self._file, self._size = None, -1, 0

    def orphans(self) -> Iterator[Left]:
        """The producers that are gone: their id, the number of the first event they left, and the events.

        A file is deleted once the next one is asked for.
        """
        for path in sorted(self._folder.glob(f"{self._prefix}*{SUFFIX}")):
            file = _locked(path)
            if file is None:
                continue
            try:
                first_seq, events = _read(file)
                if events:
                    yield path.name[len(self._prefix) : -len(SUFFIX)], first_seq, events
                path.unlink(missing_ok=True)
            finally:
                os.close(file)

    def _make_folder(self) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def _replace(self, path: Path, content: bytes) -> None:
        """Write a new file under a lock, then give it its name: nobody sees one without a lock."""
        new = path.with_suffix(".new")
        file = os.open(new, os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_APPEND, 0o600)
        flock(file, LOCK_EX)
        self._size = os.write(file, content)
        new.rename(path)
        if self._file >= 0:
            os.close(self._file)
        self._path, self._file = path, file


def _locked(path: Path) -> int | None:
    """The file, open and under our lock; None if its owner lives, or somebody else was quicker."""
    try:
        file = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        flock(file, LOCK_EX | LOCK_NB)
        if os.fstat(file).st_ino == path.stat().st_ino:
            return file
    except OSError:  # locked, replaced, or gone
        pass
    os.close(file)
    return None


def _read(file: int) -> tuple[int, list[str]]:
    """The number of the first event of a file, and the events, up to one that its owner could not finish."""
    first_seq = 1
    events: list[str] = []
    with os.fdopen(os.dup(file), "rb") as lines:
        for line in lines:
            seq, _, event = line.partition(b"\t")
            if not (event.endswith(b"\n") and seq.isdigit()):
                break
            if not events:
                first_seq = int(seq)
            events.append(event[:-1].decode())
    return first_seq, events
