"""What tests of orders and pauses share: asking as an administrator, and waiting for what comes of it."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import User

from jobs.models import Action, Worker
from jobs.models.people import Outcome
from jobs.perform import Actor, perform
from tests.harness import eventually
from workers.app import app


def known(name: str) -> Worker:
    """The worker of this name, once the record knows how it is set up."""

    def found() -> Worker | None:
        rows = Worker.objects.filter(name__startswith=f"{name}@", offline_at=None).exclude(setup=None)
        newest: Worker | None = rows.order_by("-seen_at").first()
        return newest

    worker = eventually(found, message=f"{name} is in the record")
    assert worker is not None
    return worker


def asked(by: User, command: Any, reason: str = "") -> Action:
    """What somebody has asked for; it was not refused."""
    action = perform(Actor(by, "page"), command, reason)
    assert action.refusal is None, action.detail
    return action


def settled(action: Action, timeout: float = 20.0) -> Action:
    """The action, once it is known what became of it."""

    def is_over() -> bool:
        action.refresh_from_db()
        return not action.is_open

    eventually(is_over, timeout, lambda: f"{action} is settled: {list(action.orders.values())}")
    return action


def done(by: User, command: Any, reason: str = "") -> Action:
    """The action of a command that did what was asked."""
    action = settled(asked(by, command, reason))
    assert action.outcome == Outcome.DONE, action.detail
    return action


def inspect(method: str, worker: str) -> Any:
    """What the worker says itself."""
    with app.connection_for_write() as connection:  # one from a pool may be of a Redis that was stopped since
        asking = app.control.inspect(destination=[worker], timeout=2, connection=connection)
        return (getattr(asking, method)() or {}).get(worker)


def reads(worker: str) -> set[str]:
    """The queues that the worker says it reads."""
    return {queue["name"] for queue in inspect("active_queues", worker) or []}
