"""What Celery asks where a job goes to, whoever enqueues it: the routes of the settings (`jobs.routes`)."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Mapping, Sequence
from functools import cache, partial
from typing import Any

import structlog
from celery import Celery
from django.core.exceptions import ImproperlyConfigured

from jobs.routes import Route, Rule, read_routes
from jobs.triggers.language import Unreadable

logger = structlog.get_logger(__name__)


class Router:
    """A router for Celery's `task_routes`; what a caller names itself goes before what it says."""

    def __init__(self, app: Celery, queues: Collection[str]) -> None:
        self._app = app
        self._queues = queues
        self._told: set[int] = set()
        self.rules: list[Rule] = []

    def declare(self, routes: Sequence[Route]) -> None:
        """Ask these after those that are there. Raises ImproperlyConfigured for one that can't be read."""
        try:
            self.rules += read_routes(routes, self._queues, first=len(self.rules) + 1)
        except Unreadable as fault:
            raise ImproperlyConfigured(str(fault)) from None

    def __call__(
        self, name: str, args: Any, kwargs: Any, options: Mapping[str, Any], task: Any = None, **_: Any
    ) -> dict[str, Any] | None:
        """The queue and priority of a job, as Celery takes them; None if no route fits."""
        args, kwargs = tuple(args or ()), dict(kwargs or {})
        named = partial(self._named, task or self._app.tasks.get(name), args, kwargs)
        for rule in self.rules:
            if rule.is_about(name) and self._holds(rule, args, kwargs, named):
                return _destination(rule.route)
        return None

    def asks(self, task: str) -> bool:
        """Whether two jobs of this task may go to different places."""
        return any(rule.asks and rule.is_about(task) for rule in self.rules)

    def _holds(self, rule: Rule, args: Any, kwargs: Any, named: Any) -> bool:
        """A condition that can't be judged doesn't hold; that is told once."""
        try:
            return rule.holds(args, kwargs, named)
        except Unreadable as fault:
            if rule.place not in self._told:
                self._told.add(rule.place)
                logger.warning("%s: the condition can't be judged, and does not hold: %s", rule, fault)
            return False

    @staticmethod
    def _named(task: Any, args: Any, kwargs: Any) -> dict[str, Any] | None:
        if task is None:
            return dict(kwargs)
        signature = signature_of(task)
        try:
            bound = signature.bind(*args, **kwargs)
        except TypeError:  # Celery refuses it in a moment, or they are not known yet
            return None
        bound.apply_defaults()
        gathered = next((p.name for p in signature.parameters.values() if p.kind is p.VAR_KEYWORD), None)
        return {**bound.arguments, **(bound.arguments[gathered] if gathered else {})}


def _destination(route: Route) -> dict[str, Any]:
    told = {"queue": route.queue, "priority": route.priority}
    return {name: value for name, value in told.items() if value is not None}


@cache
def signature_of(task: Any) -> inspect.Signature:
    """What a task takes."""
    return inspect.signature(task.run)
