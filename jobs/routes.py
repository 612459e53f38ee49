"""Routes: the queue and the priority of a job whose caller names none. Pure.

    Route("shop.tasks.charge", queue="high", priority=8)
    Route("shop.tasks.*", when="pages > 100", queue="low")
    Route(re.compile(r"(shop|crm)\\.tasks\\.export_\\w+"), queue="low", priority=2)

The first one that fits decides. `when` is a condition over the arguments of
the job, by the names of the task's parameters, in the language of triggers
(`jobs.triggers.language`), or a function that takes what the job takes.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from jobs.triggers.language import Condition, Unreadable, parse_condition

HIGHEST_PRIORITY = 9
WILD = re.compile(r"[*?\[]")
# Arguments by the names of parameters; None where they don't fit the task's signature.
Named = Callable[[], Mapping[str, Any] | None]


@dataclass(frozen=True)
class Route:
    """Jobs of `task` go to `queue`, with `priority`; at least one of both is given.

    `task` is a name, a pattern as of files ("shop.tasks.*"), or a compiled
    regular expression that the whole name must match.
    """

    task: str | re.Pattern[str]
    queue: str | None = None
    priority: int | None = None
    when: str | Callable[..., object] = ""

    @property
    def name(self) -> str | None:
        """The one task that is meant; None for a pattern."""
        return self.task if isinstance(self.task, str) and not WILD.search(self.task) else None

    @property
    def pattern(self) -> str:
        """What was written of the task."""
        return self.task if isinstance(self.task, str) else self.task.pattern


@dataclass(frozen=True)
class Rule:
    """A route, read: its place among the others counts from 1."""

    place: int
    route: Route
    names: re.Pattern[str]
    condition: Condition | None

    def __str__(self) -> str:
        return f"ROUTES, number {self.place} ({self.route.pattern})"

    @property
    def asks(self) -> bool:
        """Whether the arguments of a job make a difference."""
        return bool(self.route.when)

    def is_about(self, task: str) -> bool:
        """Whether it is for jobs of this task."""
        return self.names.fullmatch(task) is not None

    def holds(self, args: Sequence[Any], kwargs: Mapping[str, Any], named: Named) -> bool:
        """Whether a job with these arguments is meant. Raises Unreadable if they can't be compared."""
        if not self.asks:
            return True
        values = named()
        if values is None:
            return False
        if self.condition is None:
            return bool(cast(Callable[..., object], self.route.when)(*args, **kwargs))
        return self.condition.holds(values, None)


def read_routes(routes: Sequence[Route], queues: Collection[str], first: int = 1) -> list[Rule]:
    """Read routes, in the order in which they are asked. Raises Unreadable at the first that can't be."""
    rules: list[Rule] = []
    for place, route in enumerate(routes, first):
        try:
            rule = Rule(place, route, _names(route), _condition(route))
            _check_destination(route, queues)
            _check_reach(rule, rules)
        except Unreadable as fault:
            raise Unreadable(f"ROUTES, number {place} ({route.pattern}): {fault}") from None
        rules.append(rule)
    return rules


def _names(route: Route) -> re.Pattern[str]:
    if isinstance(route.task, re.Pattern):
        return route.task
    if not route.task:
        raise Unreadable("it names no task")
    return re.compile(fnmatch.translate(route.task) if route.name is None else re.escape(route.task))


def _condition(route: Route) -> Condition | None:
    if not isinstance(route.when, str):
        if not callable(route.when):
            raise Unreadable("`when` is neither a text nor a function")
        return None
    condition = parse_condition(route.when)
    if condition.old_names:
        raise Unreadable("a job has no `old` values")
    return condition


def _check_destination(route: Route, queues: Collection[str]) -> None:
    if route.queue is None and route.priority is None:
        raise Unreadable("it gives neither a queue nor a priority")
    if route.queue is not None and route.queue not in queues:
        raise Unreadable(f"there is no queue {route.queue!r}; there are {', '.join(sorted(queues))}")
    if route.priority is not None and not 0 <= route.priority <= HIGHEST_PRIORITY:
        raise Unreadable(f"priority {route.priority} is not between 0 and {HIGHEST_PRIORITY}")


def _check_reach(rule: Rule, before: Sequence[Rule]) -> None:
    """A route that no job can come to is a mistake."""
    for other in before:
        same = other.route.pattern == rule.route.pattern
        covered = rule.route.name is not None and other.is_about(rule.route.name)
        if not other.asks and (same or covered):
            raise Unreadable(f"number {other.place} ({other.route.pattern}) takes all of its jobs")
