"""Reading errors for people: the list, worst first, one of them, and how many need a look."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from django.db.models import Count, OuterRef, Q, Subquery, Sum

from jobs.errors.fingerprints import other_of
from jobs.models import Attempt, Cluster, Error, ErrorCount, ErrorJob, Job, Visible
from jobs.models.errors import ErrorStatus
from jobs.scopes import Scope, scope_of

if TYPE_CHECKING:
    from django.contrib.auth.base_user import AbstractBaseUser
    from django.contrib.auth.models import AnonymousUser

PAGE_SIZE = 50
# Counted beside the navigation, no further.
COUNT_LIMIT = 1_000
EXAMPLES = 20
HOURS = 24
NEW_FOR = timedelta(hours=24)
FIVE, HOUR = ErrorCount.FIVE_MINUTES, ErrorCount.HOUR
# What a list shows, by its name in the address.
VIEWS: dict[str, tuple[ErrorStatus, ...]] = {
    "open": (ErrorStatus.UNRESOLVED, ErrorStatus.REGRESSED),
    "ignored": (ErrorStatus.IGNORED,),
    "resolved": (ErrorStatus.RESOLVED,),
    "all": tuple(ErrorStatus),
}
RANKS = {"regressed": 0, "new": 0, "unresolved": 1, "ignored": 2, "resolved": 3}


@dataclass(frozen=True)
class Query:
    """What to list; `assignee` is a name, `before` the moment and number after which the page begins."""

    view: str = "open"
    task: str | None = None
    assignee: str | None = None
    before: tuple[datetime, int] | None = None
    cluster_id: int = Cluster.DEFAULT_ID


@dataclass(frozen=True)
class Listed:
    """An error with how many jobs it took lately; `hours` are the last 24, the running one last."""

    error: Error
    status: str
    hours: Sequence[int]
    quarter: int
    hour: int

    @property
    def day(self) -> int:
        """Jobs in the last 24 hours."""
        return sum(self.hours)

    @property
    def is_other(self) -> bool:
        """Whether it is of several causes."""
        return _is_other(self.error)


def _is_other(error: Error) -> bool:
    return error.fingerprint == other_of(error.task).fingerprint


@dataclass(frozen=True)
class Page:
    """Errors of one page, worst first; `counts` are how many each view has, `older` where the next begins."""

    listed: Sequence[Listed]
    older: tuple[datetime, int] | None
    counts: Mapping[str, int] = field(default_factory=dict)


def visible(user: AbstractBaseUser | AnonymousUser) -> Visible:
    """The errors that `user` may see and that jobs are counted in."""
    return Error.objects.visible_to(user).filter(times__gt=0)


def find(query: Query, user: AbstractBaseUser | AnonymousUser, now: datetime) -> Page:
    """The errors seen last of those asked for, a page of them. Three statements."""
    seen = visible(user).filter(cluster=query.cluster_id)
    if query.task:
        seen = seen.filter(task=query.task)
    rows = seen.filter(status__in=VIEWS[query.view])
    if query.assignee:
        rows = rows.filter(assignee=query.assignee)
    if query.before:
        at, number = query.before
        rows = rows.filter(Q(last_at__lt=at) | Q(last_at=at, pk__lt=number))
    found = list(rows.order_by("-last_at", "-pk")[: PAGE_SIZE + 1])
    shown = found[:PAGE_SIZE]
    older = (shown[-1].last_at, shown[-1].pk) if len(found) > PAGE_SIZE else None
    return Page(worst_first(listed(shown, user, now)), older, _counts(seen))


def _counts(seen: Visible) -> dict[str, int]:
    by_status = dict(seen.order_by().values_list("status").annotate(Count("pk")))
    return {view: sum(by_status.get(status, 0) for status in of_view) for view, of_view in VIEWS.items()}


def listed(errors: Sequence[Error], user: AbstractBaseUser | AnonymousUser, now: datetime) -> list[Listed]:
    """With what they took lately, and no more of their words than `user` may read. One statement."""
    scope = scope_of(user) or Scope(payload=False)
    counts = _lately({error.pk for error in errors}, now)
    return [_listed(within(error, scope), counts[error.pk], now) for error in errors]


def within(error: Error, scope: Scope) -> Error:
    """The same, without message and frame where a scope does not show what jobs carry."""
    if not scope.payload:
        error.message = error.frame = ""
    return error


def _lately(ids: Collection[int], now: datetime) -> defaultdict[int, Counter[tuple[int, int]]]:
    """By error: how many failed, by tier and by how many spans ago."""
    five, hour = (int(now.timestamp() // tier) for tier in (FIVE, HOUR))
    since = Q(tier=FIVE, start__gt=five - 12) | Q(tier=HOUR, start__gt=hour - HOURS)
    rows = ErrorCount.objects.filter(since, error_id__in=ids) if ids else ErrorCount.objects.none()
    counts: defaultdict[int, Counter[tuple[int, int]]] = defaultdict(Counter)
    for error_id, tier, start, failed in rows.values_list("error_id", "tier", "start", "failed"):
        counts[error_id][(tier, (five if tier == FIVE else hour) - start)] += failed
    return counts


def _listed(error: Error, counts: Counter[tuple[int, int]], now: datetime) -> Listed:
    return Listed(
        error,
        status_of(error, now),
        [counts[(HOUR, back)] for back in reversed(range(HOURS))],
        sum(counts[(FIVE, back)] for back in range(3)),
        sum(counts[(FIVE, back)] for back in range(12)),
    )


def status_of(error: Error, now: datetime) -> str:
    """Its status, or "new" for an open one that was seen first within a day."""
    is_new = error.status == ErrorStatus.UNRESOLVED and error.returned_at is None
    return "new" if is_new and error.first_at > now - NEW_FOR else error.status


def worst_first(rows: Sequence[Listed]) -> list[Listed]:
    """New and regressed ones first, then by how many in 15 minutes, an hour and a day."""
    return sorted(
        rows,
        key=lambda row: (
            RANKS[row.status],
            -row.quarter,
            -row.hour,
            -row.day,
            -row.error.last_at.timestamp(),
        ),
    )


def alarming(scope: Scope, now: datetime, cluster_id: int = Cluster.DEFAULT_ID) -> Visible:
    """Those that are new or regressed, as far as a scope shows them."""
    new = Q(
        status=ErrorStatus.UNRESOLVED,
        returned_at=None,
        first_at__gt=now - NEW_FOR,
        last_at__gt=now - NEW_FOR,
    )
    return Error.objects.within(scope).filter(
        new | Q(status=ErrorStatus.REGRESSED), cluster=cluster_id, times__gt=0
    )


# One of them


@dataclass(frozen=True)
class Examples:
    """The newest jobs of an error, where they ran, and the traceback of the newest; None: unknown."""

    jobs: Sequence[Job]
    workers: Sequence[tuple[str, int]]
    releases: Sequence[tuple[str, int]]
    traceback: str | None


def examples(error: Error, user: AbstractBaseUser | AnonymousUser) -> Examples:
    """As far as `user` may see them. Three statements."""
    scope = scope_of(user) or Scope(payload=False)
    newest = ErrorJob.objects.filter(error=error).order_by("-job_id").values_list("job_id", flat=True)
    found = Job.objects.visible_to(user).in_bulk(list(newest[:EXAMPLES]))
    jobs = [found[pk] for pk in sorted(found, reverse=True)]
    for job in jobs:
        job.exception = scope.words_of(job.exception)
    return Examples(
        jobs,
        Counter(job.worker for job in jobs if job.worker).most_common(),
        Counter(job.release for job in jobs if job.release).most_common(),
        _traceback(jobs[0]) if jobs and scope.payload else None,
    )


def _traceback(job: Job) -> str | None:
    of_job = Attempt.objects.filter(job=job, retries=job.retries, delivery=job.delivery)
    return of_job.values_list("traceback", flat=True).first() or None


@dataclass(frozen=True)
class Same:
    """The error of a job, and how many others of it failed in the last 24 hours."""

    error: Error
    day: int


def same_as(job: Job, scope: Scope, now: datetime) -> Same | None:
    """What a failed job shares with others, as far as a scope shows that; None if it shares nothing known.

    One statement.
    """
    since = int((now - timedelta(hours=HOURS)).timestamp() // HOUR)
    counts = ErrorCount.objects.filter(error=OuterRef("pk"), tier=HOUR, start__gt=since).order_by()
    day = Subquery(counts.values("error").annotate(day=Sum("failed")).values("day"))
    of_job = Error.objects.filter(pk__in=ErrorJob.objects.filter(pk=job.pk).values("error"))
    error = of_job.annotate(day=day).first()
    if error is None or _is_other(error) or not scope.covers(error.task, error.queue):
        return None
    return Same(error, error.day or 0)


def since_beginning(hours: Sequence[int], now: datetime) -> list[tuple[datetime, int]]:
    """The hours with the moment at which each began, the running one last."""
    running = int(now.timestamp() // HOUR)
    first = running - len(hours) + 1
    return [
        (datetime.fromtimestamp((first + place) * HOUR, UTC), failed) for place, failed in enumerate(hours)
    ]
