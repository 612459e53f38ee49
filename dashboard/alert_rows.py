"""Alerts as pages list them: those that are open, the worst first, and what was."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from django.contrib.auth.models import Group
from django.db.models import Case, IntegerField, Q, QuerySet, Value, When
from django.urls import reverse
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy

from dashboard.addresses import READABLE
from dashboard.alert_words import headline, sentence
from jobs import alert_trends
from jobs.history import Memory
from jobs.models import Alert, Rule
from jobs.models.alerts import AlertState, Kind, Severity
from jobs.scopes import Scope, scope_of

if TYPE_CHECKING:
    from django.contrib.auth.base_user import AbstractBaseUser
    from django.contrib.auth.models import AnonymousUser

MOST_OPEN = 200
PAGE_SIZE = 50
FIRING = gettext_lazy("Firing")
RANKS = {Severity.PAGE: 0, Severity.WARN: 1, Severity.INFO: 2}


@dataclass(frozen=True)
class Asked:
    """What to list: of one queue, of one team's rules; history older than the alert numbered `before`."""

    queue: str | None = None
    team: int | None = None
    before: int | None = None

    @property
    def condition(self) -> Q:
        """The same as a condition."""
        told = {"queue": self.queue, "rule__team": self.team}
        return Q(**{name: value for name, value in told.items() if value})


@dataclass(frozen=True)
class Way:
    """A page that helps, and what to call it."""

    words: str | Promise
    address: str


@dataclass(frozen=True)
class Row:
    """An alert in a list. `badge` and `word` are its state; `trend` the last hour, from `turn` on bad."""

    alert: Alert
    badge: str
    word: str | Promise
    headline: str
    sentence: str
    way: Way | None
    trend: Sequence[float | None]
    turn: int

    @property
    def taken(self) -> float | None:
        """Seconds from its first notice, or from when it fired, until somebody acknowledged it."""
        told = self.alert.noticed_at or self.alert.fired_at
        if self.alert.acknowledged_at is None or told is None:
            return None
        return max(0.0, (self.alert.acknowledged_at - told).total_seconds())

    @property
    def lasted(self) -> float | None:
        """Seconds from its cause to its end."""
        if self.alert.resolved_at is None:
            return None
        return max(0.0, (self.alert.resolved_at - self.alert.since).total_seconds())


@dataclass(frozen=True)
class Open:
    """What is not resolved; `left_out` are those beyond the longest list."""

    firing: list[Row]
    silenced: list[Row]
    pending: list[Row]
    left_out: int


def read_open(
    asked: Asked,
    cluster_id: int,
    user: AbstractBaseUser | AnonymousUser,
    now: datetime,
    memory: Memory | None = None,
) -> Open:
    """What `user` may see of it, the worst first: nobody is on it, then by severity, then the oldest.

    Without a `memory` rows have no trend.
    """
    scope = scope_of(user)
    if scope is None:
        return Open([], [], [], 0)
    rows = Alert.objects.within(scope).filter(asked.condition, cluster=cluster_id, resolved_at=None)
    found = list(_worst_first(rows)[: MOST_OPEN + 1])
    listed = _rows(found[:MOST_OPEN], cluster_id, now, memory, scope)
    firing = [row for row in listed if row.alert.state == AlertState.FIRING]
    return Open(
        firing=[row for row in firing if row.badge != "silenced"],
        silenced=[row for row in firing if row.badge == "silenced"],
        pending=[row for row in listed if row.alert.state == AlertState.PENDING],
        left_out=rows.count() - MOST_OPEN if len(found) > MOST_OPEN else 0,
    )


def _worst_first(rows: QuerySet[Alert]) -> QuerySet[Alert]:
    rank = Case(
        *(When(severity=level, then=Value(place)) for level, place in RANKS.items()),
        output_field=IntegerField(),
        default=Value(len(RANKS)),
    )
    owned = Case(When(acknowledged_at=None, then=Value(0)), default=Value(1), output_field=IntegerField())
    return rows.select_related("rule__team").order_by(owned, rank, "since", "pk")


def read_history(
    asked: Asked, cluster_id: int, user: AbstractBaseUser | AnonymousUser, now: datetime
) -> tuple[list[Row], int | None]:
    """A page of those that fired and are resolved, the newest first, and where the next one begins."""
    rows = Alert.objects.visible_to(user).filter(
        asked.condition, cluster=cluster_id, state=AlertState.RESOLVED
    )
    older = rows if asked.before is None else rows.filter(pk__lt=asked.before)
    found = list(older.select_related("rule__team").order_by("-pk")[: PAGE_SIZE + 1])
    shown = [row_of(alert, now) for alert in found[:PAGE_SIZE]]
    return shown, found[PAGE_SIZE - 1].pk if len(found) > PAGE_SIZE else None


def _rows(
    alerts: Sequence[Alert], cluster_id: int, now: datetime, memory: Memory | None, scope: Scope
) -> list[Row]:
    trends = {} if memory is None else alert_trends.last_hour(alerts, cluster_id, now, memory, scope)
    return [row_of(alert, now, trends.get(alert.pk, ())) for alert in alerts]


def row_of(alert: Alert, now: datetime, trend: Sequence[float | None] = ()) -> Row:
    """One alert, in words."""
    badge, word = standing(alert, now)
    known = trend if any(value is not None for value in trend) else ()
    return Row(
        alert=alert,
        badge=badge,
        word=word,
        headline=headline(alert),
        sentence=sentence(alert, now.timestamp()),
        way=way_of(alert),
        trend=known,
        turn=_turn(alert, now, len(known)),
    )


def standing(alert: Alert, now: datetime) -> tuple[str, str | Promise]:
    """The badge and the word of its state; "" for the badge's own word."""
    if alert.state != AlertState.FIRING:
        return alert.state, ""
    if alert.silenced_until is not None and alert.silenced_until > now:
        return "silenced", ""
    return ("acknowledged", "") if alert.acknowledged_at else (alert.severity, FIRING)


def _turn(alert: Alert, now: datetime, steps: int) -> int:
    """From which of the two-minute steps of the last hour on its cause was there."""
    minutes = int(now.timestamp() // 60) - int(alert.since.timestamp() // 60)
    return max(0, steps - 1 - minutes // 2)


# The page that helps


def way_of(alert: Alert) -> Way | None:
    """Where to go from here."""
    if alert.rule.kind in (Kind.MISSED_TICK, Kind.BEAT_SILENT):
        return Way(gettext_lazy("Schedules"), reverse("schedules"))
    if alert.rule.kind == Kind.DEAD_LETTERS:
        of_task = f"?{urlencode({'task': alert.task})}" if alert.task else ""
        return Way(gettext_lazy("Dead letters"), reverse("dead-letters") + of_task)
    if alert.rule.kind == Kind.WORKER_DEAD:
        return _worker(alert.key)
    if alert.task is not None:
        return Way(gettext_lazy("Failed jobs"), jobs_address(task=alert.task, state="failed"))
    if alert.queue is not None:
        return Way(gettext_lazy("Queue"), reverse("queue", args=[alert.queue]))
    return Way(gettext_lazy("Coverage"), reverse("coverage"))


def _worker(name: str) -> Way:
    if READABLE.fullmatch(name):
        return Way(gettext_lazy("Worker"), reverse("worker", args=[name]))
    return Way(gettext_lazy("Workers"), reverse("workers"))


def jobs_address(**filters: str | None) -> str:
    """The list of jobs with these filters."""
    return f"{reverse('jobs')}?{urlencode({name: value for name, value in filters.items() if value})}"


def related(alert: Alert) -> list[Way]:
    """Lists of jobs, and the pages, that belong to it."""
    ways = []
    if alert.task or alert.queue:
        of = {"task": alert.task, "queue": alert.queue}
        ways += [
            Way(gettext_lazy("Jobs that failed"), jobs_address(state="failed", **of)),
            Way(gettext_lazy("Jobs that wait"), jobs_address(state="queued", **of)),
            Way(gettext_lazy("Jobs that run"), jobs_address(state="running", **of)),
        ]
    if alert.queue:
        ways.append(Way(gettext_lazy("The queue"), reverse("queue", args=[alert.queue])))
    way = way_of(alert)
    known = {each.address for each in ways}
    return ways if way is None or way.address in known else [way, *ways]


# What there is to filter by


def queues_known(cluster_id: int, user: AbstractBaseUser | AnonymousUser) -> list[str]:
    """The queues that open alerts and the latest hundreds of others are about."""
    rows = Alert.objects.visible_to(user).filter(cluster=cluster_id).order_by("-pk")
    names: set[Any] = set(rows.values_list("queue", flat=True)[:500])
    return sorted(name for name in names if name)


def teams_known() -> list[tuple[int, str]]:
    """The teams that a rule belongs to."""
    teams = Group.objects.filter(pk__in=Rule.objects.exclude(team=None).values("team"))
    return list(teams.order_by("name").values_list("pk", "name"))
