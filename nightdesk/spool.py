"""Unsent events of a process, in files that outlive it.

Each event is appended before its `put` returns, so a process that is killed,
or that ends while Redis is away, loses none of them: whoever writes to the
same stream from the same folder next sends them in its name. An event may so
be sent twice; its producer and number tell.

A file is a piece of a process's events, its name ends in the piece's number.
One that holds nothing unsent any more is deleted; none is ever written anew.
A line is a number, a tab, and the event. The owner holds a lock on each of
its files, which is how others know that it is gone. Nothing is ever synced to
the disk: the files are for the end of a process, not of its machine.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections import deque
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

try:
    from fcntl import LOCK_EX, LOCK_NB, flock
except ImportError:  # Windows: there is no spool
    flock = None  # type: ignore[assignment]

Left = tuple[str, int, list[str]]

SUFFIX = ".events"
# A file has at least so many bytes when the next one begins, or when it is emptied since all in it was sent.
SMALLEST = 256_000
# Beyond that, a full buffer is in about so many files.
FILES = 8
# So many events of others are read at a time.
PIECE = 100

logger = logging.getLogger("nightdesk")


@dataclass
class _File:
    """A piece that this process writes, open and locked; its size in bytes, the number of its last event."""

    path: Path
    descriptor: int
    size: int = 0
    last_seq: int = 0


class Spool:
    """The files of one process, in the folder of those that write to one stream.

    What concerns its own files raises OSError; what concerns those of others is logged.
    """

    def __init__(self, folder: str, url: str, stream: str, buffer_bytes: int = 0) -> None:
        if flock is None:
            raise OSError("this system has no file locks, so there can be no spool")
        self._folder = Path(folder)
        self._make_folder()
        self._prefix = hashlib.sha256(f"{url} {stream}".encode()).hexdigest()[:12] + "-"
        self._large = max(SMALLEST, buffer_bytes // FILES)
        self._producer = ""
        self._begun = 0
        self._files: deque[_File] = deque()
        self._left_alone: set[Path] = set()

    @property
    def is_open(self) -> bool:
        return bool(self._files)

    def open(self, producer: str) -> None:
        """Begin the first file of this producer."""
        self._make_folder()
        self._producer, self._begun = producer, 0
        self._begin_file()

    def append(self, seq: int, event: str) -> None:
        """Keep one event; it is there when this returns."""
        if self._files[-1].size >= self._large:
            self._begin_file()
        file = self._files[-1]
        file.size += os.write(file.descriptor, f"{seq}\t{event}\n".encode())
        file.last_seq = seq

    def forget_before(self, seq: int) -> None:
        """What has a lower number has arrived, or is given up."""
        while len(self._files) > 1 and self._files[0].last_seq < seq:
            self._delete(self._files.popleft())
        latest = self._files[-1] if self._files else None
        if latest is not None and latest.size > SMALLEST and latest.last_seq < seq:
            os.ftruncate(latest.descriptor, 0)
            latest.size = 0

    def close(self) -> None:
        """Everything has arrived, and nothing more will come."""
        while self._files:
            self._delete(self._files.popleft())

    def abandon(self) -> None:
        """Leave the files to whom they belong: after a fork that is the parent."""
        for file in self._files:
            os.close(file.descriptor)
        self._files.clear()

    def orphans(self) -> Iterator[Left]:
        """What those left who are gone, in pieces: the producer's id, the first event's number, the events.

        A file is deleted once all of it was asked for. One that can't be read
        or deleted is logged, and left alone from then on.
        """
        for producer, paths in self._left_by_producer():
            for path in paths:
                try:
                    if not (yield from self._left_in(producer, path)):
                        break  # somebody sends these now: what follows must not overtake them
                except OSError as fault:
                    self._left_alone.add(path)
                    logger.warning("a file in the spool is left alone: %s: %s", path, fault)

    def _left_by_producer(self) -> Iterator[tuple[str, list[Path]]]:
        """The files of each producer, in the order in which it wrote them."""
        paths = sorted(set(self._folder.glob(f"{self._prefix}*{SUFFIX}")) - self._left_alone)
        for producer, files in groupby(paths, key=self._producer_of):
            yield producer, list(files)

    def _producer_of(self, path: Path) -> str:
        return path.name.removeprefix(self._prefix).partition(".")[0]

    def _left_in(self, producer: str, path: Path) -> Generator[Left, None, bool]:
        """What is left in one file; False if somebody else has it."""
        try:
            file = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            return True
        try:
            if not _is_free(file, path):
                return False
            for first_seq, events in _read(file):
                yield producer, first_seq, events
            path.unlink(missing_ok=True)
            return True
        finally:
            os.close(file)

    def _make_folder(self) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def _begin_file(self) -> None:
        """Lock a new file, then give it its name: nobody sees one without a lock."""
        self._begun += 1
        path = self._folder / f"{self._prefix}{self._producer}.{self._begun:06}{SUFFIX}"
        new = path.with_suffix(".new")
        descriptor = os.open(new, os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_APPEND, 0o600)
        flock(descriptor, LOCK_EX)
        new.rename(path)
        self._files.append(_File(path, descriptor))

    def _delete(self, file: _File) -> None:
        try:
            file.path.unlink(missing_ok=True)
        finally:
            os.close(file.descriptor)


def _is_free(file: int, path: Path) -> bool:
    """Lock an open file; False if its owner lives, or if somebody else was quicker."""
    try:
        flock(file, LOCK_EX | LOCK_NB)
        return os.fstat(file).st_ino == path.stat().st_ino
    except OSError:  # locked, or gone
        return False


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
