"""What changed before an alert: workers that came and went, releases, what people did, gaps, other alerts."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from jobs import audit
from jobs.changes import Changed, of_workers
from jobs.models import Alert, Cluster, Gap, Worker
from jobs.models.alerts import AlertState
from jobs.models.people import Outcome

if TYPE_CHECKING:
    from django.contrib.auth.models import User

BEFORE = timedelta(hours=2)
# What came with it: the cause of an alert is told a little later than it was.
AFTERWARDS = timedelta(minutes=2)
MOST = 30
MOST_WORKERS = 500


def story(alert: Alert, user: User, now: datetime) -> list[Changed]:
    """Of the two hours before its cause, as far as `user` may know; the latest first, 30 at most."""
    begin, end = alert.since - BEFORE, min(now, alert.since + AFTERWARDS)
    cluster_id = alert.cluster_id or Cluster.DEFAULT_ID
    changes = [
        *_of_workers(cluster_id, begin, end),
        *_of_people(user, begin, end),
        *_of_gaps(cluster_id, begin, end),
        *_of_alerts(alert, user, begin, end),
    ]
    return sorted(changes, key=lambda change: change.at, reverse=True)[:MOST]


def _of_workers(cluster_id: int, begin: datetime, end: datetime) -> list[Changed]:
    rows = Worker.objects.filter(cluster=cluster_id, seen_at__gte=begin).order_by("-seen_at")[:MOST_WORKERS]
    return of_workers(rows, begin, end)


def _of_people(user: User, begin: datetime, end: datetime) -> Iterator[Changed]:
    for action in audit.between(begin, end, user, MOST):
        if action.outcome != Outcome.REFUSED and not action.command.startswith("account."):
            detail = f"{action.command} {action.target}".strip()
            yield Changed(action.at, "action", action.who, detail, action.pk)


def _of_gaps(cluster_id: int, begin: datetime, end: datetime) -> Iterator[Changed]:
    rows = Gap.objects.filter(cluster=cluster_id, ended_at__gte=begin, ended_at__lt=end)
    for gap in rows.order_by("-ended_at")[:MOST]:
        yield Changed(gap.began_at, "gap", gap.source, "" if gap.lost is None else str(gap.lost))


def _of_alerts(alert: Alert, user: User, begin: datetime, end: datetime) -> Iterator[Changed]:
    rows = Alert.objects.visible_to(user).filter(cluster=alert.cluster_id, since__gte=begin, since__lt=end)
    others = rows.exclude(pk=alert.pk).exclude(state=AlertState.PENDING).select_related("rule")
    for other in others.order_by("-pk")[:MOST]:
        yield Changed(other.since, "alert", other.rule.name, other.key, other.pk)
