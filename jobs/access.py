"""Who may do what, and how far they reach: pure rules over Django's permissions and the rows of Reach."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.db.models import Q

from jobs.models.people import Action, Reach
from jobs.store.patterns import ANY, matches

if TYPE_CHECKING:
    from django.contrib.auth.base_user import AbstractBaseUser
    from django.contrib.auth.models import AnonymousUser

APP = "nightdesk_jobs"
PERMISSIONS: dict[str, str] = dict(Action._meta.permissions)

VIEWER = ("view_record", "view_payload", "view_metrics")
OPERATOR = (
    *VIEWER,
    "view_audit",
    "retry_job",
    "revoke_job",
    "terminate_job",
    "act_in_bulk",
    "pause_queue",
    "tune_worker",
    "handle_alert",
)
ROLES: dict[str, tuple[str, ...]] = {
    "viewer": VIEWER,
    "operator": OPERATOR,
    "admin": tuple(PERMISSIONS),
}


@dataclass(frozen=True)
class Span:
    """One row of somebody's reach: patterns with `*` for queues and for tasks."""

    queues: tuple[str, ...]
    tasks: tuple[str, ...]

    def covers(self, task: str | None, queue: str | None) -> bool:
        """Whether it reaches what has this task and queue; what isn't known is only covered by `*`."""
        return self.covers_task(task) and self.covers_queue(queue)

    def covers_task(self, task: str | None) -> bool:
        """Whether it reaches any job of this task."""
        return _matches(self.tasks, task)

    def covers_queue(self, queue: str | None) -> bool:
        """Whether it reaches any job of this queue."""
        return _matches(self.queues, queue)


ALL_OF_IT = Span((ANY,), (ANY,))


def _matches(patterns: Iterable[str], name: str | None) -> bool:
    return any(pattern == ANY or (name is not None and matches(pattern, name)) for pattern in patterns)


def has(user: AbstractBaseUser | AnonymousUser, permission: str) -> bool:
    """Whether `user` has this one of PERMISSIONS; nobody has one that doesn't exist."""
    if permission not in PERMISSIONS:
        raise ValueError(f"no such permission: {permission}")
    return bool(user.is_active and user.has_perm(f"{APP}.{permission}"))  # type: ignore[attr-defined]


def spans_of(user: AbstractBaseUser | AnonymousUser) -> tuple[Span, ...] | None:
    """How far `user` reaches; None for everything. One statement, once for each object `user`, as Django
    does it with permissions: whoever asks again later asks with the account as it is then."""
    known: tuple[Span, ...] | None
    if (known := getattr(user, "_nightdesk_spans", ())) == ():
        known = _spans_in_database(user)
        user._nightdesk_spans = known  # type: ignore[union-attr]
    return known


def _spans_in_database(user: AbstractBaseUser | AnonymousUser) -> tuple[Span, ...] | None:
    if user.is_superuser:  # type: ignore[union-attr]
        return None
    rows = Reach.objects.filter(Q(user=user.pk) | Q(group__user=user.pk)).order_by("pk").distinct()
    spans = tuple(Span(patterns(row.queues), patterns(row.tasks)) for row in rows)
    return None if not spans or ALL_OF_IT in spans else spans


def patterns(text: str) -> tuple[str, ...]:
    """The patterns of a text that has them by comma."""
    parts = {part.strip() for part in text.split(",") if part.strip()}
    return (ANY,) if ANY in parts else tuple(sorted(parts))


def reaches(spans: tuple[Span, ...] | None, task: str | None, queue: str | None) -> bool:
    """Whether somebody with these spans reaches what has this task and queue."""
    return spans is None or any(span.covers(task, queue) for span in spans)
