"""Which faults pass, and how long to wait before another try."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import wraps
from typing import Any

from celery.exceptions import Ignore, Reject, Retry

# 2 to a higher power is beyond any cap.
STEEPEST = 60


class Permanent(Exception):
    """Raised in a job: it fails for good, and is not retried whatever the task says."""


class Transient(Exception):
    """Raised in a job: it is retried, in `after` seconds if that is told."""

    def __init__(self, *args: object, after: float | None = None) -> None:
        super().__init__(*args)
        self.after = after

    def __reduce__(self) -> Any:
        return type(self), self.args, {"after": self.after}


def wait_before(
    retry: int,
    first: float,
    cap: float,
    jitter: bool,
    chosen: Callable[[float, float], float] = random.uniform,
) -> float:
    """Seconds before the retry after so many: twice as long each time, up to `cap`.

    With jitter it is anywhere between none and that, so that jobs which failed
    together don't come back together.
    """
    longest = min(cap, first * 2.0 ** min(retry, STEEPEST))
    return chosen(0.0, longest) if jitter else longest


def retrying(task: Any, run: Callable[..., Any]) -> Callable[..., Any]:
    """`run` that retries after the faults which `task` calls transient."""

    @wraps(run)
    def run_or_retry(*args: Any, **kwargs: Any) -> Any:
        try:
            return run(*args, **kwargs)
        except (Ignore, Reject, Retry, Permanent):
            raise
        except (Transient, *task.transient) as fault:
            raise task.retry(exc=fault, countdown=_countdown(task, fault)) from fault

    return run_or_retry


def _countdown(task: Any, fault: Exception) -> float:
    after = getattr(fault, "after", None)
    if isinstance(after, int | float):
        return float(after)
    return wait_before(task.request.retries, task.backoff, task.backoff_cap, task.backoff_jitter)
