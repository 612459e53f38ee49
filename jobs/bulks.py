"""Reading bulks: who may see which, and what is known of one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import orjson
from django.db.models import Q, QuerySet

from jobs import access
from jobs.models.bulk import Bulk, BulkItem, BulkState, ItemOutcome
from jobs.models.record import Job, State
from jobs.scopes import Scope

if TYPE_CHECKING:
    from django.contrib.auth.base_user import AbstractBaseUser
    from django.contrib.auth.models import AnonymousUser

NAMES_KEPT, NAMES_SHOWN = 1_000, 12
SAMPLES = 20
# How many of the latest ends a failure share is taken from, and how few say nothing.
LATEST, FEWEST = 100, 20
# Ends that count as having failed again.
FAILED_AGAIN = (State.FAILED, State.REJECTED)


def visible_to(user: AbstractBaseUser | AnonymousUser) -> QuerySet[Bulk]:
    """What `user` may read: their own; and if they reach everything, what others have begun, too."""
    if not access.has(user, "view_record"):
        return Bulk.objects.none()
    own = Q(user=user.pk)
    begun = Q() if access.spans_of(user) is None else Q(pk=None)
    return Bulk.objects.filter(own | (begun & ~Q(state=BulkState.DRAFT)))


@dataclass
class Preview:
    """What is in a set: how many by state, by task and by queue; which can't be acted on, and why.

    `queues` counts what can be acted on alone: it is what will be put there.
    `samples` are numbers of jobs that can.
    """

    states: Counter[str] = field(default_factory=Counter)
    tasks: Counter[str | None] = field(default_factory=Counter)
    queues: Counter[str | None] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    samples: list[int] = field(default_factory=list)

    @classmethod
    def read(cls, text: str) -> Preview:
        """As it was dumped."""
        told = orjson.loads(text)
        counts = {
            name: Counter(dict(told.get(name, ()))) for name in ("states", "tasks", "queues", "reasons")
        }
        return cls(**counts, samples=told.get("samples", []))

    def within(self, scope: Scope) -> Preview:
        """Without the names of tasks and queues beyond a reach."""
        tasks = Counter({name: n for name, n in self.tasks.items() if scope.covers_task(name)})
        queues = Counter({name: n for name, n in self.queues.items() if scope.covers_queue(name)})
        return replace(self, tasks=tasks, queues=queues)

    def dumps(self) -> str:
        """As JSON; rare names beyond NAMES_KEPT are left out."""
        counts = {name: _commonest(getattr(self, name)) for name in ("states", "tasks", "queues", "reasons")}
        return orjson.dumps({**counts, "samples": self.samples}).decode()

    def count(self, number: int, state: str, task: str | None, queue: str | None, why_not: str) -> None:
        """One more job; `why_not` is "" for one that can be acted on."""
        self.states[state] += 1
        self.tasks[task] += 1
        if why_not:
            self.reasons[why_not] += 1
            return
        self.queues[queue] += 1
        if len(self.samples) < SAMPLES:
            self.samples.append(number)


def _commonest(counts: Counter[Any]) -> list[tuple[Any, int]]:
    return counts.most_common(NAMES_KEPT)


def only(counts: Counter[str | None]) -> str | None:
    """The one name that there is; None if there are several, or none."""
    return next(iter(counts)) if len(counts) == 1 else None


def within(scope: Scope, items: Sequence[BulkItem]) -> list[BulkItem]:
    """The items without those whose jobs, as the record has them, are beyond a reach."""
    told = Job.objects.filter(pk__in=[item.job_id for item in items]).values_list("pk", "task", "queue")
    beyond = {pk for pk, task, queue in told if not scope.covers(task, queue)}
    return [item for item in items if item.job_id not in beyond]


def failure_share(bulk: Bulk) -> float | None:
    """The share of failures among the latest jobs of a bulk that have ended; None while they are too few."""
    ended = bulk.items.filter(outcome=ItemOutcome.DONE).order_by("-job_id")
    failed = [(pk, True) for state in FAILED_AGAIN for pk in _numbers(ended.filter(came=state))]
    others = [(pk, False) for pk in _numbers(ended.filter(came=State.SUCCEEDED))]
    latest = sorted(failed + others, reverse=True)[:LATEST]
    if len(latest) < FEWEST:
        return None
    return sum(has_failed for _, has_failed in latest) / len(latest)


def _numbers(items: QuerySet[BulkItem]) -> Iterable[int]:
    return items.values_list("job_id", flat=True)[:LATEST]
