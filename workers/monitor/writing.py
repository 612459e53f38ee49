"""Writes prepared batches while the next is prepared: PostgreSQL's server does, or a process for SQLite."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from django.db import Error, connection

from jobs.record import Committed, Prepared, Record
from jobs.store.sqlite_process import SqliteProcess

# On SQLite a smaller batch is written sooner than another process has taken it.
FEWEST_EVENTS = 1_000


class BatchWriter:
    """One batch at a time, in the order given. `committed` is called in its thread and must not block."""

    def __init__(self, committed: Callable[[Prepared, Committed], None]) -> None:
        self._committed = committed
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="batch-writer")
        self._writing: Future[None] | None = None
        self._process = SqliteProcess() if connection.vendor == "sqlite" else None

    @property
    def busy(self) -> bool:
        """Whether a batch is in hand whose end nobody has looked at yet."""
        return self._writing is not None

    def submit(self, record: Record, prepared: Prepared) -> None:
        """Write this batch after the one before; raises what that one raised, and then writes nothing."""
        self.wait()
        if self._process and prepared.batch.events < FEWEST_EVENTS:
            self._write(record, prepared)
        else:
            self._writing = self._thread.submit(self._write, record, prepared, self._process)

    def wait(self) -> None:
        """Wait until nothing is being written; raises what the last batch raised, once."""
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()

    def close(self) -> None:
        """Let the last batch end, and with it the thread and the process."""
        self._thread.shutdown()
        if self._process:
            self._process.close()

    def _write(self, record: Record, prepared: Prepared, process: SqliteProcess | None = None) -> None:
        try:
            committed = record.write(prepared, process)
        except Error:
            connection.close()
            raise
        self._committed(prepared, committed)
