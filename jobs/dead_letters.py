"""Reading dead letters: how many wait, pages of them, and marking them as settled."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from django.db.models import OuterRef, Subquery

from jobs.models import Action, Cluster, DeadLetter, Visible
from jobs.models.dead import Settled
from jobs.scopes import Scope, scope_of

if TYPE_CHECKING:
    from django.contrib.auth.base_user import AbstractBaseUser
    from django.contrib.auth.models import AnonymousUser

PAGE_SIZE = 50
COUNT_LIMIT = 10_000
NAMES_LIMIT = 200
KINDS_OF = 2_000
# What a list doesn't show of a letter.
LONG = ("raw", "headers", "shown")
REVIEWED = (Settled.OPEN, Settled.REQUEUED, Settled.DISCARDED)


@dataclass(frozen=True)
class Query:
    """What to look for: with `settled` those that somebody has dealt with; `before` is an id, exclusive."""

    why: str | None = None
    task: str | None = None
    queue: str | None = None
    settled: str = Settled.OPEN
    before: int | None = None
    cluster_id: int = Cluster.DEFAULT_ID

    @property
    def conditions(self) -> dict[str, str]:
        """Those of its filters that were given."""
        told = {"why": self.why, "task": self.task, "queue": self.queue}
        return {name: value for name, value in told.items() if value}


@dataclass(frozen=True)
class Page:
    """Letters newest first; `older` is where the next page begins; `count` is exact unless `more`."""

    letters: list[DeadLetter]
    older: int | None
    count: int
    more: bool


def open_within(scope: Scope, cluster_id: int = Cluster.DEFAULT_ID) -> int:
    """How many letters wait for somebody, as far as a scope shows them; counts stop at COUNT_LIMIT."""
    return waiting(scope, cluster_id).order_by()[:COUNT_LIMIT].count()


def waiting(scope: Scope, cluster_id: int = Cluster.DEFAULT_ID) -> Visible:
    """The letters that wait for somebody, as far as a scope shows them."""
    return DeadLetter.objects.within(scope).filter(cluster=cluster_id, settled=Settled.OPEN)


def matching(query: Query, user: AbstractBaseUser | AnonymousUser) -> Visible:
    """The letters that a question means, of those that `user` may see."""
    seen = DeadLetter.objects.visible_to(user)
    return seen.filter(cluster=query.cluster_id, settled=query.settled, **query.conditions)


def find(query: Query, user: AbstractBaseUser | AnonymousUser) -> Page:
    """A page of them. Two statements."""
    rows = matching(query, user)
    older = rows if query.before is None else rows.filter(pk__lt=query.before)
    found = list(older.defer(*LONG).order_by("-pk")[: PAGE_SIZE + 1])
    letters, count = found[:PAGE_SIZE], rows.order_by()[: COUNT_LIMIT + 1].count()
    scope = scope_of(user) or Scope(payload=False)
    for letter in letters:
        letter.exception = scope.words_of(letter.exception)
    following = letters[-1].pk if len(found) > PAGE_SIZE else None
    return Page(letters, following, min(count, COUNT_LIMIT), count > COUNT_LIMIT)


@dataclass(frozen=True)
class Kind:
    """Open letters that share a reason and a task: they are likely to share their cause."""

    why: str
    task: str | None
    count: int


def kinds(cluster_id: int, user: AbstractBaseUser | AnonymousUser) -> list[Kind]:
    """What waits, by reason and task, the commonest first, of the newest KINDS_OF; one statement."""
    waiting = DeadLetter.objects.visible_to(user).filter(cluster=cluster_id, settled=Settled.OPEN)
    counts = Counter(waiting.order_by("-pk").values_list("why", "task")[:KINDS_OF])
    return [Kind(why, task, count) for (why, task), count in counts.most_common(NAMES_LIMIT)]


def settle(
    letters: Collection[int], how: Settled, action: Action, made: Mapping[int, str] | None = None
) -> int:
    """Mark those of these that are open; `made` are the ids of the jobs that they became. How many were."""
    now, new_ids = datetime.now(UTC), made or {}
    still_open = DeadLetter.objects.filter(pk__in=letters, settled=Settled.OPEN)
    settled: int = still_open.update(settled=how, settled_at=now, action=action, new_task_id=None)
    rows = [DeadLetter(pk=pk, new_task_id=new_id) for pk, new_id in new_ids.items()]
    DeadLetter.objects.filter(action=action).bulk_update(rows, ["new_task_id"], batch_size=100)
    return settled


def retried(made: Mapping[int, str], action: Action) -> None:
    """Jobs, by their numbers, were given a second life (its task id): what waited of them is settled."""
    waiting = DeadLetter.objects.filter(job_id__in=made, settled=Settled.OPEN).values_list("pk", "job_id")
    letters = {pk: made[job_id] for pk, job_id in waiting if job_id is not None}
    if letters:
        settle(letters, Settled.REQUEUED, action, letters)


def with_letters(jobs: Visible) -> Visible:
    """The same jobs, each with what `of_job` needs to know of its open letter: no statement of its own."""
    open_ones = DeadLetter.objects.filter(job_id=OuterRef("pk"), settled=Settled.OPEN).order_by("pk")
    number, why = (Subquery(open_ones.values(name)[:1]) for name in ("pk", "why"))
    found: Visible = jobs.annotate(letter_id=number, letter_why=why)
    return found


def of_job(job: Any) -> DeadLetter | None:
    """The open letter of a job that was read `with_letters`, if it has one: its number, and why."""
    return None if job.letter_id is None else DeadLetter(pk=job.letter_id, why=job.letter_why)
