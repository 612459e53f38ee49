"""Tasks written with Django's own interface, for real workers of the suite."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django_tasks import TaskContext, task


@task
def add(left: int, right: int) -> int:
    """Add two numbers."""
    return left + right


@task(queue_name="high", priority=100)
def note(file: str, text: str) -> None:
    """Append a line to a file."""
    with Path(file).open("a") as lines:
        lines.write(f"{text}\n")


@task(takes_context=True)
def attempt(context: TaskContext, file: str) -> int:
    """Say which attempt this is."""
    note.call(file, f"{context.task_result.id} {context.attempt}")
    return context.attempt


@task
async def double(number: int) -> int:
    """As a coroutine."""
    return number * 2


@task
def fail(message: str) -> Any:
    """Fail."""
    raise ValueError(message)
