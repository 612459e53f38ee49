"""Finding jobs: filters become keyset pages, newest first, that cost the same at any size.

What no index serves is looked for among the newest candidates only, a window
at a time, so that no filter can scan the record. Counts stop at a limit.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from django.db.models import Q, QuerySet

from jobs.headlines import HOUR, TREND_HOURS
from jobs.models import Bucket, Cluster, ErrorJob, Job, Standing, State
from jobs.rollups import UNKNOWN
from jobs.scopes import Scope, scope_of
from jobs.store.arrivals import first_after, first_since
from jobs.store.patterns import ANY

if TYPE_CHECKING:
    from django.contrib.auth.base_user import AbstractBaseUser
    from django.contrib.auth.models import AnonymousUser

PAGE_SIZE = 50
COUNT_LIMIT = 10_000
WINDOW = 2_000
NAMES_LIMIT = 1_000
# Jobs whose reports overtook each other: so many on either side of a span may belong to it.
OVERTAKEN = 1_000


@dataclass(frozen=True)
class Query:
    """What to look for, and from which job on: `before` and `after` are ids of Job, exclusive.

    Published from `since` to before `until`; where that is not known, received.
    """

    state: str | None = None
    task: str | None = None
    queue: str | None = None
    error: int | None = None
    since: datetime | None = None
    until: datetime | None = None
    before: int | None = None
    after: int | None = None
    cluster_id: int = Cluster.DEFAULT_ID

    def __post_init__(self) -> None:
        """Raises ValueError for a span that ends before it begins."""
        if self.since is not None and self.until is not None and self.until <= self.since:
            raise ValueError("until must be after since")


@dataclass(frozen=True)
class Page:
    """Jobs newest first; `older` and `newer` are where the neighbours begin, None without one.

    `count` is exact unless `more`: then there are at least so many.
    """

    jobs: list[Job]
    older: int | None
    newer: int | None
    count: int
    more: bool


EMPTY = Page(jobs=[], older=None, newer=None, count=0, more=False)


def find(query: Query, user: AbstractBaseUser | AnonymousUser) -> Page:
    """The page of jobs that `user` may see. At most five statements, and two for each end of a span."""
    candidates = Candidates.of(query, user)
    ids, older, newer = candidates.page(query.before, query.after)
    count, more = candidates.count()
    found = Job.objects.visible_to(user).in_bulk(ids)
    jobs = [found[pk] for pk in ids if pk in found]
    for job in jobs:
        job.exception = candidates.scope.words_of(job.exception)
    return Page(jobs, older, newer, count, more)


@dataclass(frozen=True)
class Candidates:
    """Rows, one a job, that an index finds in the order of their ids; `residue` no index serves."""

    rows: QuerySet[Any]
    residue: Q
    scope: Scope

    @classmethod
    def of(cls, query: Query, user: AbstractBaseUser | AnonymousUser) -> Candidates:
        scope = scope_of(user)
        if scope is None:
            return cls(Job.objects.none(), Q(), Scope())
        if query.error is not None:
            return cls._of_error(query, query.error, scope)._within_span(query)
        return cls._of_names(query, scope)._within_span(query)

    @classmethod
    def _of_names(cls, query: Query, scope: Scope) -> Candidates:
        """The jobs in one state, of one task, in one queue."""
        left = scope.within(query.task, query.queue)
        wanted = {"state": query.state, "task": query.task, "queue": query.queue or _only_queue(left)}
        told = {name: value for name, value in wanted.items() if value}
        by_standing = query.state is not None and query.state != State.SUCCEEDED
        served = {"state"} if by_standing else set()
        served |= {"task"} if "task" in told else {"queue"}
        model: type[Job] | type[Standing] = Standing if by_standing else Job
        rows = model.objects.filter(
            cluster=query.cluster_id, **{name: value for name, value in told.items() if name in served}
        )
        residue = {name: value for name, value in told.items() if name not in served}
        unmeasured = left.within(told.get("task"), told.get("queue"))
        return cls(rows, Q(**residue) & unmeasured.rows("task", "queue"), scope)

    @classmethod
    def _of_error(cls, query: Query, error: int, scope: Scope) -> Candidates:
        """The jobs that are counted in one error."""
        rows = ErrorJob.objects.filter(error=error, error__cluster=query.cluster_id)
        wanted = {"job__state": query.state, "job__task": query.task, "job__queue": query.queue}
        told = Q(**{name: value for name, value in wanted.items() if value})
        return cls(rows, told & scope.rows("job__task", "job__queue"), scope)

    def _within_span(self, query: Query) -> Candidates:
        """Those published in the span: looked for where their numbers are, each judged by its own time."""
        rows, job = self.rows, "" if self.rows.model is Job else "job__"
        if query.since is not None:
            rows = rows.filter(pk__gte=first_since(query.cluster_id, query.since, OVERTAKEN))
        if query.until is not None:
            after = first_after(query.cluster_id, query.until, OVERTAKEN)
            rows = rows if after is None else rows.filter(pk__lt=after)
        bounds = {"gte": query.since, "lt": query.until}
        return replace(self, rows=rows, residue=self.residue & _published(job, bounds))

    def page(self, before: int | None, after: int | None) -> tuple[list[int], int | None, int | None]:
        """The ids of a page, newest first, and where the older and the newer neighbour begin."""
        if after is None:
            ids, older = self.older_than(before)
            return ids, older, ids[0] if ids and before is not None else None
        ids = self.newer_than(after)
        if len(ids) > PAGE_SIZE:
            shown = ids[:PAGE_SIZE][::-1]
            return shown, shown[-1], shown[0]
        # There are not enough newer ones to fill a page: it is the first.
        return *self.older_than(None), None

    def older_than(self, before: int | None) -> tuple[list[int], int | None]:
        """A page of ids, newest first, and where the next one begins."""
        if before is None and self.residue:
            found = self._newest
        else:
            older = self.rows if before is None else self.rows.filter(pk__lt=before)
            found = self._look(older.order_by("-pk"), PAGE_SIZE + 1)
        ids = found.ids[:PAGE_SIZE]
        return ids, ids[-1] if len(found.ids) > PAGE_SIZE else found.edge

    def newer_than(self, after: int) -> list[int]:
        """A page of ids and one more, oldest first."""
        found = self._look(self.rows.filter(pk__gt=after).order_by("pk"), PAGE_SIZE + 1)
        return found.ids[: PAGE_SIZE + 1]

    def window(self, before: int | None, most: int = WINDOW) -> Look:
        """Those among the next `most` candidates, newest first, that match; `edge` is where to go on."""
        rows = self.rows if before is None else self.rows.filter(pk__lt=before)
        found = _ids(rows.order_by("-pk")[: most + 1])
        edge = found[most - 1] if len(found) > most else None
        return Look(self._left_by_residue(found[:most]), edge)

    def count(self) -> tuple[int, bool]:
        """How many there are, and whether there may be more than that."""
        if self.residue:
            return len(self._newest.ids), self._newest.edge is not None
        count = self.rows.order_by()[: COUNT_LIMIT + 1].count()
        return min(count, COUNT_LIMIT), count > COUNT_LIMIT

    @cached_property
    def _newest(self) -> Look:
        return self._look(self.rows.order_by("-pk"), WINDOW)

    def _look(self, rows: QuerySet[Any], wanted: int) -> Look:
        """The first `wanted` of these rows; or those among the first WINDOW that the residue leaves.

        In two statements: asked in one, a planner may begin with the residue, and walk through the record.
        """
        if not self.residue:
            return Look(_ids(rows[:wanted]), None)
        window = _ids(rows[: WINDOW + 1])
        edge = window[WINDOW - 1] if len(window) > WINDOW else None
        return Look(self._left_by_residue(window[:WINDOW]), edge)

    def _left_by_residue(self, window: list[int]) -> list[int]:
        if not self.residue:
            return window
        left = set(_ids(self.rows.model.objects.filter(self.residue, pk__in=window)))
        return [pk for pk in window if pk in left]


def _published(job: str, bounds: dict[str, datetime | None]) -> Q:
    """Published within these bounds, or received, where nobody told of the publish."""
    given = {bound: moment for bound, moment in bounds.items() if moment is not None}
    if not given:
        return Q()
    published = Q(**{f"{job}published_at__{bound}": moment for bound, moment in given.items()})
    received = Q(**{f"{job}received_at__{bound}": moment for bound, moment in given.items()})
    return published | (Q(**{f"{job}published_at": None}) & received)


def _only_queue(scope: Scope) -> str | None:
    """The one queue that a scope is about, if so: that an index serves."""
    queues = {queue for span in scope.spans or () for queue in span.queues}
    return next(iter(queues)) if len(queues) == 1 and ANY not in "".join(queues) else None


@dataclass(frozen=True)
class Look:
    """What was found, and the id of the last row looked at, where there are more not looked at yet."""

    ids: list[int]
    edge: int | None


def _ids(rows: Any) -> list[int]:
    return list(rows.values_list("pk", flat=True))


@dataclass(frozen=True)
class Names:
    """Tasks and queues to choose from, each sorted."""

    tasks: list[str]
    queues: list[str]


def names(cluster_id: int, user: AbstractBaseUser | AnonymousUser, now: datetime) -> Names:
    """The tasks and queues that were heard of in the last day; one statement."""
    day_ago = int(now.timestamp() // HOUR) - TREND_HOURS
    lately = Bucket.objects.visible_to(user).filter(cluster=cluster_id, tier=Bucket.HOUR, start__gte=day_ago)
    pairs = list(lately.order_by().values_list("task", "queue").distinct()[:NAMES_LIMIT])
    return Names(
        tasks=sorted({task for task, _ in pairs} - {UNKNOWN}),
        queues=sorted({queue for _, queue in pairs} - {UNKNOWN}),
    )
