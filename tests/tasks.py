"""Tasks for real workers of the suite: `celery -A workers worker -I tests.tasks`."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

from celery import signals
from celery.exceptions import SoftTimeLimitExceeded
from django.db import connection

from workers.app import app


@app.task
def note(file: str, text: str) -> str:
    """Append a line to a file: what ran, in which order."""
    with Path(file).open("a") as lines:
        lines.write(f"{text}\n")
    return text


@app.task(bind=True, max_retries=5)
def note_and_retry(self: Any, file: str, text: str, times: int) -> int:
    """Append a line with the priority and the number of the attempt, and retry `times` times."""
    note.run(file, f"{text} {self.request.retries} {self.request.delivery_info['priority']}")
    if self.request.retries < times:
        raise self.retry(countdown=0)
    return int(self.request.retries)


@app.task(bind=True, max_retries=None)
def die(self: Any, file: str) -> None:
    """Kill the process it runs in, as the kernel does when memory is short."""
    note.run(file, f"died {self.request.retries}")
    os.kill(os.getpid(), signal.SIGKILL)


@app.task(bind=True)
def render(self: Any, steps: int) -> str:
    for step in range(steps):
        self.update_state(state="RENDERING", meta={"current": step + 1, "total": steps})
    return "rendered"


@app.task
def which_connection() -> int:
    """The identity of the database connection of this process."""
    connection.ensure_connection()
    return id(connection.connection)


@app.task
def count_results() -> int:
    """A job that asks the database."""
    from django_celery_results.models import TaskResult

    return int(TaskResult.objects.count())


@app.task
def sleep_until(file: str, seconds: float) -> str:
    """Run until `file` exists, at most `seconds`."""
    deadline = time.monotonic() + seconds
    try:
        while not Path(file).exists() and time.monotonic() < deadline:
            time.sleep(0.02)
    except SoftTimeLimitExceeded:
        return "soft limit"
    return "done"


@app.task
def add(x: int, y: int) -> int:
    return x + y


@app.task
def add_once_allowed(x: int, y: int, file: str) -> int:
    """Fails until there is such a file."""
    if not Path(file).exists():
        raise KeyError("not allowed yet")
    return x + y


@app.task
def total(numbers: list[int]) -> int:
    return sum(numbers)


@app.task(bind=True)
def tell_pid_and_wait(self: Any, file: str, done: str) -> int:
    """Note the pid of the process, and run until the file `done` exists; the number of the attempt."""
    note.run(file, str(os.getpid()))
    sleep_until.run(done, 60)
    return int(self.request.retries)


@app.task
def fail_with(text: str, **carried: Any) -> None:
    """Fail for good, with `text` in the exception."""
    raise KeyError(text)


@app.task(bind=True, max_retries=3)
def succeed_at(self: Any, attempt: int) -> str:
    """Retry until the given attempt, which succeeds."""
    if self.request.retries < attempt:
        raise self.retry(exc=ConnectionError("partner is away"), countdown=0.1)
    return f"attempt {attempt}"


@app.task(bind=True)
def render_until(self: Any, file: str) -> str:
    """Say once how far it is, in a state of its own, and go on when `file` exists."""
    self.update_state(state="RENDERING", meta={"current": 1, "total": 4})
    return str(sleep_until.run(file, 30))


@app.task
def end_time() -> float:
    """The moment at which it ends."""
    return time.time()


@app.task(bind=True, max_retries=3)
def end_when_told(self: Any, file: str, go: str, how: str) -> str:
    """Note that it runs; when `go` exists, end as `how` says: succeed, fail, retry, or die once over."""
    note.run(file, f"runs {self.request.retries}")
    sleep_until.run(go, 60)
    if how == "fail":
        raise KeyError("currency")
    if how == "retry" and self.request.retries == 0:
        raise self.retry(exc=ConnectionError("partner is away"), countdown=3600)
    return "ended"


@signals.task_postrun.connect(sender=end_when_told, weak=False)
def note_the_end(task_id: str, args: list[str], **_: Any) -> None:
    """Everybody whom Celery tells has been told by now."""
    file, _go, how = args
    note.run(file, f"ended {task_id}")
    if how == "die":
        os.kill(os.getpid(), signal.SIGKILL)


@app.task
def total_noted(numbers: Any, file: str) -> int:
    """The body of a chord; notes that it ran."""
    note.run(file, "body")
    return sum(numbers) if isinstance(numbers, list) else numbers


@app.task
def note_failure(request: Any, exc: Any, traceback: Any, file: str) -> None:
    note.run(file, "errback")


def die_once(file: str, when: str) -> None:
    """Be killed where the test has asked for it, and no second time; with the worker if the order says so."""
    order = Path(f"{file}.die-{when}")
    if order.exists():
        with_the_worker = bool(order.read_text())
        order.unlink()
        if with_the_worker:
            os.kill(os.getppid(), signal.SIGKILL)
        os.kill(os.getpid(), signal.SIGKILL)


@signals.before_task_publish.connect(sender=total_noted.name, weak=False)
def die_between_count_and_publish(body: Any, **_: Any) -> None:
    die_once(body[0][1], "before")


@signals.after_task_publish.connect(sender=total_noted.name, weak=False)
def die_after_the_publish(body: Any, **_: Any) -> None:
    die_once(body[0][1], "after")
