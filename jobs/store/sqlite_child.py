"""Writes rows to SQLite; run as a script, a process that writes what another one has prepared.

It knows nothing of the product, so that it begins at once and stays small. It is told, and answers,
over its standard input and output: MessagePack, each message after its length. It leaves when
its input ends, which is also when the other process dies; what it has in hand it writes first, all or none.
"""

from __future__ import annotations

import gc
import pickle
import signal
import sqlite3
import struct
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from itertools import chain
from typing import IO, Any

import msgspec

Row = Sequence[Any]
# An upsert in its parts: what comes before the rows, the marks of one row, and what comes after.
Upsert = tuple[str, str, str]

STATEMENT_ROWS = 100
SETTLE = "DELETE FROM nightdesk_jobs_standing WHERE job_id = ?"
_LENGTH = struct.Struct("<Q")
_encoder, _decoder = msgspec.msgpack.Encoder(), msgspec.msgpack.Decoder()


def write_rows(connection: sqlite3.Connection, upsert: Upsert, rows: Sequence[Row]) -> None:
    """Write whole rows, inside a transaction.

    A statement of a hundred rows costs half of a hundred statements.
    """
    whole = len(rows) - len(rows) % STATEMENT_ROWS
    for start in range(0, whole, STATEMENT_ROWS):
        values = list(chain.from_iterable(rows[start : start + STATEMENT_ROWS]))
        connection.execute(_statement(upsert, STATEMENT_ROWS), values)
    if whole < len(rows):
        connection.executemany(_statement(upsert, 1), rows[whole:])


@cache
def _statement(upsert: Upsert, rows: int) -> str:
    into, marks, conflict = upsert
    return f"{into} VALUES {', '.join([marks] * rows)} {conflict}"


def settle(connection: sqlite3.Connection, job_ids: Sequence[int]) -> None:
    """These jobs have succeeded: they stand nowhere any more."""
    connection.executemany(SETTLE, [(job_id,) for job_id in job_ids])


def send(pipe: IO[bytes], message: Any) -> None:
    """Send a message of plain values."""
    packed = _encoder.encode(message)
    pipe.write(_LENGTH.pack(len(packed)))
    pipe.write(packed)
    pipe.flush()


def receive(pipe: IO[bytes]) -> Any:
    """The next message; raises EOFError where there is none."""
    head = pipe.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        raise EOFError("the other process is gone")
    size = _LENGTH.unpack(head)[0]
    packed = pipe.read(size)
    if len(packed) < size:
        raise EOFError("the other process is gone")
    return _decoder.decode(packed)


class Writer:
    """A connection of its own, opened at the first change."""

    def __init__(
        self, path: str, timeout: float, commands: Sequence[str], upserts: Mapping[str, Upsert]
    ) -> None:
        self._opening = path, timeout, commands
        self._upserts = {kind: (into, marks, conflict) for kind, (into, marks, conflict) in upserts.items()}
        self._connection: sqlite3.Connection | None = None

    def answer(self, change: Any) -> bool | bytes:
        """Whether the change was written: not so if others had moved the position. Or the fault, pickled."""
        try:
            return self._write(*change)
        except Exception as fault:  # noqa: BLE001 the top of a loop; the other process deals with it
            return pickle.dumps(fault)

    def _write(
        self, move: str, values: Row, rows: Mapping[str, Sequence[Row]], settled: Sequence[int]
    ) -> bool:
        connection = self._connection or self._open()
        connection.execute("BEGIN IMMEDIATE")
        try:
            moved = connection.execute(move, values).rowcount == 1
            if moved:
                for kind, of_kind in rows.items():
                    write_rows(connection, self._upserts[kind], of_kind)
                settle(connection, settled)
            connection.execute("COMMIT" if moved else "ROLLBACK")
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        return moved

    def _open(self) -> sqlite3.Connection:
        path, timeout, commands = self._opening
        self._connection = connection = sqlite3.connect(path, timeout, isolation_level=None, uri=True)
        for command in commands:
            connection.execute(command)
        return connection


def main() -> None:
    """Write what comes, until nothing comes any more."""
    # A signal to the whole group is for the other process, which lets the batch in hand end.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    gc.disable()  # a change is a hundred thousand lists, none of them in a cycle
    told, answers = sys.stdin.buffer, sys.stdout.buffer
    try:
        writer = Writer(*receive(told))
        while True:
            send(answers, writer.answer(receive(told)))
    except (EOFError, BrokenPipeError):
        pass


if __name__ == "__main__":
    main()
