"""When nothing is being written: right after a commit, and while none come."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

# Commits that are further apart than this disturb nobody, and nobody waits for them.
LIVELY_SECONDS = 0.5


class Lull:
    """What can wait begins right after a commit, so that the next one finds it done."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._begun = threading.Condition()
        self._last = -LIVELY_SECONDS

    def begin(self) -> None:
        """A commit has ended. Called in its thread."""
        with self._begun:
            self._last = self._clock()
            self._begun.notify_all()

    def wait(self) -> None:
        """Until the next commit ends; not at all, or no longer, while none come."""
        with self._begun:
            left = self._last + LIVELY_SECONDS - self._clock()
            if left > 0:
                self._begun.wait(left)
