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
import json
import logging
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

try:
    from fcntl import LOCK_EX, LOCK_NB, flock
except ImportError:  # Windows: there is no spool
    flock = None  # type: ignore[assignment]

Left = tuple[str, int, list[str]]

SUFFIX = ".events"
# Events that were sent or given up are taken out of the file when there are this many bytes of them,
# and more than of others.
WORTH_REWRITING = 256_000
# So many events of others are read at a time.
PIECE = 100

logger = logging.getLogger("nightdesk")


class Spool:
    """The file of one process, in the folder of those that write to one stream.

    What concerns its own file raises OSError; what concerns those of others is logged.
    """

    def __init__(self, folder: str, url: str, stream: str) -> None:
        if flock is None:
            raise OSError("this system has no file locks, so there can be no spool")
        self._folder = Path(folder)
        self._make_folder()
        self._prefix = hashlib.sha256(f"{url} {stream}".encode()).hexdigest()[:12] + "-"
        self._path: Path | None = None
        self._file = -1
        self._size = 0
        self._left_alone: set[Path] = set()

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

    def keep_only(self, first_seq: int, unsent: Iterable[str], unsent_bytes: int) -> None:
        """What is not in `unsent` has arrived, or is given up: take it out, if it is worth it."""
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
        """What those left who are gone, in pieces: the producer's id, the first event's number, the events.

        A file is deleted once all of it was asked for. One that can't be read
        or deleted is logged, and left alone from then on.
        """
        for path in sorted(self._files() - self._left_alone):
            try:
                yield from self._left_in(path)
            except OSError as fault:
                self._left_alone.add(path)
                logger.warning("a file in the spool is left alone: %s: %s", path, fault)

    def _files(self) -> set[Path]:
        return set(self._folder.glob(f"{self._prefix}*{SUFFIX}"))

    def _left_in(self, path: Path) -> Iterator[Left]:
        file = _locked(path)
        if file is None:
            return
        producer = path.name[len(self._prefix) : -len(SUFFIX)]
        try:
            for first_seq, events in _read(file):
                yield producer, first_seq, events
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


def _read(file: int) -> Iterator[tuple[int, list[str]]]:
    """The events of a file in runs without a hole, at most PIECE long, each with the number of its first.

    A line that is damaged, or that its owner could not finish, is passed over.
    """
    first_seq = 1
    events: list[str] = []
    with os.fdopen(file, "rb", closefd=False) as lines:
        for seq, event in filter(None, map(_event_of, lines)):
            if events and (seq != first_seq + len(events) or len(events) == PIECE):
                yield first_seq, events
                events = []
            if not events:
                first_seq = seq
            events.append(event)
    if events:
        yield first_seq, events


def _event_of(line: bytes) -> tuple[int, str] | None:
    seq, _, event = line.partition(b"\t")
    if not (event.endswith(b"\n") and seq.isdigit()):
        return None
    try:
        text = event[:-1].decode()
        json.loads(text)  # one that isn't JSON would spoil all of its entry
        return int(seq), text
    except ValueError:
        return None
