"""Writes prepared batches; on PostgreSQL in a thread of its own, so that the next is prepared meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from django.db import Error, connection

from jobs.record import Committed, Prepared, Record


class BatchWriter:
    """One batch at a time, in the order given. `committed` is called in its thread and must not block."""

    def __init__(self, committed: Callable[[Prepared, Committed], None]) -> None:
        self._committed = committed
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="batch-writer")
        self._writing: Future[None] | None = None

    @property
    def busy(self) -> bool:
        """Whether a batch is in hand whose end nobody has looked at yet."""
        return self._writing is not None

    def submit(self, record: Record, prepared: Prepared) -> None:
        """Write this batch after the one before; raises what that one raised, and then writes nothing."""
        self.wait()
        if connection.vendor == "sqlite":  # its work is done in here, and two threads of Python are slower
            self._write(record, prepared)
        else:
            self._writing = self._thread.submit(self._write, record, prepared)

    def wait(self) -> None:
        """Wait until nothing is being written; raises what the last batch raised, once."""
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()

    def close(self) -> None:
        """Let the last batch end, and the thread with it."""
        self._thread.shutdown()

    def _write(self, record: Record, prepared: Prepared) -> None:
        try:
            committed = record.write(prepared)
        except Error:
            connection.close()
            raise
        self._committed(prepared, committed)
