"""How far a job is: written at most twice a second, and the last word always."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from django.db import connections

from workers.running import Run, call_later, run_of

# The shortest time between two reports of a job, in seconds.
INTERVAL = 0.5


def report(task: Any, state: str, meta: dict[str, Any], complete: bool) -> None:
    """Write it now if it is time, or `complete`; else as soon as it is, unless a later one comes."""
    request: Any = task.request
    if request.id is None:
        return
    run = run_of(request.id)
    now = time.monotonic()
    if run is None:  # without a worker there is nobody who would write it later
        _report_sparingly(task, state, meta, complete, now)
        return
    with run.lock:
        early = now < run.report_at and not complete
        planned = run.pending is not None
        run.pending = (state, meta) if early or _on_a_loop() else None
        if not early:
            run.report_at = now + INTERVAL
    if run.pending is None:
        task.update_state(state=state, meta=meta)
    elif not planned:
        call_later(max(0.0, run.report_at - now) if early else 0.0, lambda: _write_pending(run))


def _report_sparingly(task: Any, state: str, meta: dict[str, Any], complete: bool, now: float) -> None:
    request: Any = task.request
    if complete or now >= getattr(request, "progress_next", 0.0):
        request.progress_next = now + INTERVAL
        task.update_state(state=state, meta=meta)


def _on_a_loop() -> bool:
    """Whether this is a coroutine, which must not wait for a database."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _write_pending(run: Run) -> None:
    """By another thread than the job's."""
    with run.lock:
        told, run.pending = run.pending, None
        if told is None or run.over:
            return
        run.report_at = time.monotonic() + INTERVAL
        try:
            run.task.backend.store_result(run.task_id, told[1], told[0], request=run.request)
        finally:
            connections.close_all()  # this thread's own


def end(run: Run) -> None:
    """The job is over: what waits to be written is told by its outcome."""
    with run.lock:
        run.pending, run.over = None, True
