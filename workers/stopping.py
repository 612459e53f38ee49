"""SIGTERM and SIGINT as something that the main thread of a process can wait for."""

from __future__ import annotations

import signal
from queue import Empty, SimpleQueue


class StopSignal:
    """Whether somebody wants this process to stop; made, and waited for, in its main thread.

    A handler runs in between any two steps of that thread, which may hold the
    lock of an Event right then: to set it would wait for ever. A SimpleQueue
    is made for that.
    """

    def __init__(self) -> None:
        self._came: SimpleQueue[int] = SimpleQueue()
        self._stopping = False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda received, _: self._came.put(received))

    def wait(self, timeout: float) -> bool:
        """Whether one has come, after at most so many seconds; from then on always."""
        if not self._stopping:
            try:
                self._came.get(timeout=timeout)
            except Empty:
                return False
            self._stopping = True
        return True
