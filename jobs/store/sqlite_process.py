"""A process that writes to SQLite, while this one prepares what comes next.

Two threads can't: what SQLite needs a whole core for holds up the interpreter in between.
"""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import IO, Any

from django.db import OperationalError, connection

from jobs.store import sqlite_child
from jobs.store.sqlite import upsert
from jobs.store.tables import MOVE, TABLES, Move, Row

END_SECONDS = 3.0


class SqliteProcess:
    """Started when it is needed; one change at a time. Used by one thread, which may be any."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """None while there is none."""
        return self._process.pid if self._process else None

    def write(self, move: Move, rows: Mapping[str, Sequence[Row]], settled: Sequence[int]) -> bool:
        """Write a change in one transaction; False if somebody else has moved the position.

        Raises what a connection of this process would raise, and OperationalError if the process has
        ended: then the change is written or not, and the position tells.
        """
        answer = self._ask((MOVE.replace("%s", "?"), move.values, rows, settled))
        if isinstance(answer, bool):
            return answer
        with connection.wrap_database_errors:
            raise pickle.loads(answer)  # noqa: S301 from a process of ours

    def close(self) -> None:
        """Let the process end; it has nothing in hand."""
        process, self._process = self._process, None
        if process is not None:
            with suppress(subprocess.TimeoutExpired):
                process.communicate(timeout=END_SECONDS)
            process.kill()

    def _ask(self, change: Any) -> bool | bytes:
        process = self._process or self._start()
        told, answers = _pipes(process)
        try:
            sqlite_child.send(told, change)
            answer: bool | bytes = sqlite_child.receive(answers)
        except (OSError, EOFError) as fault:
            self._process = None
            process.kill()
            process.communicate()
            raise OperationalError("the process that writes has ended") from fault
        return answer

    def _start(self) -> subprocess.Popen[bytes]:
        self._process = process = subprocess.Popen(
            [sys.executable, "-P", sqlite_child.__file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        told, _ = _pipes(process)
        options = connection.settings_dict["OPTIONS"]
        commands = ["PRAGMA foreign_keys = ON", *options.get("init_command", "").split(";")]
        upserts = {kind: upsert(kind) for kind in TABLES}
        name, timeout = str(connection.settings_dict["NAME"]), float(options.get("timeout", 5.0))
        sqlite_child.send(told, (name, timeout, commands, upserts))
        return process


def _pipes(process: subprocess.Popen[bytes]) -> tuple[IO[bytes], IO[bytes]]:
    assert process.stdin
    assert process.stdout
    return process.stdin, process.stdout
