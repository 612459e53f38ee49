"""The end of a job, told by the process of the pool that ran it.

The worker's main process tells it too. Both name the same attempt, so it
counts once; and it is known even where one of them is killed at that moment.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from celery.utils.saferepr import saferepr
from celery.utils.serialization import get_pickled_exception
from kombu.utils.encoding import safe_repr, safe_str

from nightdesk.messages import DELIVERY

Tell = Callable[..., None]


def told_by_pool(task: Any) -> dict[str, Any] | None:
    """What names the attempt that this process runs; None if the main process alone tells of it."""
    request = task.request
    delivery = request.get(DELIVERY)
    if not delivery or request.is_eager or not task.send_events:
        return None
    return {
        "uuid": request.id,
        "retries": request.retries or 0,
        "delivery": delivery,
        "hostname": request.hostname,
    }


def success(task: Any, result: Any, runtime: float | None) -> dict[str, Any]:
    """Fields of `task-succeeded`, as Celery words them."""
    return {"result": result_text(result, task.resultrepr_maxsize), "runtime": runtime}


def failure(exception: Exception, traceback: Any) -> dict[str, Any]:
    """Fields of `task-failed` and `task-retried`, as Celery words them."""
    return {"exception": safe_repr(get_pickled_exception(exception)), "traceback": safe_str(traceback)}


def result_text(result: Any, longest: int) -> str:
    if result is None or type(result) in (bool, int, float):
        return repr(result)
    return str(saferepr(result, longest))
