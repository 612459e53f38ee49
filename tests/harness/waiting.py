from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def eventually(
    predicate: Callable[[], T],
    timeout: float = 20.0,
    message: str | Callable[[], str] = "",
    every: float = 0.02,
) -> T:
    """Ask until the answer is true, and return it; AssertionError with `message` after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not (answer := predicate()):
        if time.monotonic() > deadline:
            said = message() if callable(message) else message
            raise AssertionError(f"not within {timeout:g} s: {said or predicate!r} (last answer {answer!r})")
        time.sleep(every)
    return answer
