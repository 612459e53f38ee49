"""A message that can't be run now is put aside, and comes back by itself. It is no retry."""

from __future__ import annotations

from typing import Any

from celery.exceptions import Reject

from workers.brokers.aside import Line


class PutBack(Reject):
    """Raised before a job begins: its message comes in `delay` seconds, or when `line` has a slot."""

    def __init__(self, reason: str, delay: float = 0.0, line: Line | None = None) -> None:
        super().__init__(reason, True)  # to be requeued, as who doesn't know better would do
        self.told, self.delay, self.line = reason, delay, line

    def __reduce__(self) -> Any:  # from the pool's process to the main process
        return PutBack, (self.told, self.delay, self.line)
