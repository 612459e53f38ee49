"""What is looked at before a command or a worker starts, beyond the settings themselves."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

from django.core.checks import CheckMessage, Error

from jobs.routes import Rule
from workers.app import app, router
from workers.enqueuable import nearest
from workers.routing import signature_of
from workers.signatures import is_known, own_task_names

_asking = ContextVar("asking", default=False)


def check_routes(**_: Any) -> list[CheckMessage]:
    """A route for a task that is not there, or over an argument that no task has, would never be heard.

    To know the tasks they are imported, which has Celery ask for all checks again: that time, for nothing.
    """
    if _asking.get():
        return []
    token = _asking.set(True)
    try:
        return list(_mistakes())
    finally:
        _asking.reset(token)


def refuse_mute_routes(**_: Any) -> None:
    """A worker doesn't start with them: Celery makes Django's checks, and doesn't look at what they find."""
    if faults := check_routes():
        sys.exit(f"error: {faults[0].msg}")


def _mistakes() -> Iterator[CheckMessage]:
    return (Error(f"{rule}: {why}", id="nightdesk.E001") for rule in router.rules for why in _faults(rule))


def _faults(rule: Rule) -> Iterator[str]:
    name = rule.route.name
    if name is not None and not is_known(name):
        yield f"there is no task {name!r}{nearest(name, own_task_names())}"
        return
    tasks = [task for task in own_task_names() if rule.is_about(task)]
    known = [signature_of(app.tasks[task]) for task in tasks]
    for argument in sorted(rule.condition.names if rule.condition else ()):
        if known and not any(_takes(signature, argument) for signature in known):
            yield f"no task of these has an argument {argument!r}"


def _takes(signature: inspect.Signature, argument: str) -> bool:
    gathers = any(told.kind is told.VAR_KEYWORD for told in signature.parameters.values())
    return gathers or argument in signature.parameters
