"""Tasks that carry more than anybody should: `celery -A workers worker -I tests.giants`."""

from __future__ import annotations

from typing import Any

from workers.app import app

FRAME = '  File "shop.py", line 1, in pay\n'


@app.task
def take(text: str, **more: str) -> int:
    """How much was given."""
    return len(text) + sum(map(len, more.values()))


@app.task
def give(size: int) -> str:
    """A result of so many characters."""
    return "x" * size


@app.task
def fail_at_length(lines: int) -> None:
    """Fail with a traceback of so many lines."""
    raise ValueError(FRAME * lines)


@app.task
def nest(depth: int) -> Any:
    """Lists within lists, so deep."""
    return nested(depth)


def nested(depth: int) -> list[Any]:
    lists: list[Any] = []
    for _ in range(depth):
        lists = [lists]
    return lists


@app.task(bind=True)
def tell_at_length(self: Any, size: int) -> str:
    """Say how far it is, in so many characters."""
    self.update_state(state="RENDERING", meta={"current": 1, "total": 2, "words": "x" * size})
    return "told"


@app.task
def echo(value: Any) -> Any:
    return value
