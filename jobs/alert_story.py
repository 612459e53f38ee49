"""What changed before an alert: workers that came and went, releases, what people did, gaps, other alerts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Literal

from jobs import audit
from jobs.liveness import WORKER_DEAD_AFTER
from jobs.models import Alert, Cluster, Gap, Worker
from jobs.models.alerts import AlertState

if TYPE_CHECKING:
    from django.contrib.auth.models import User

BEFORE = timedelta(hours=2)
# What came with it: the cause of an alert is told a little later than it was.
AFTERWARDS = timedelta(minutes=2)
MOST = 30
MOST_WORKERS = 500

What = Literal["worker online", "worker offline", "worker silent", "release", "action", "gap", "alert"]


@dataclass(frozen=True)
class Changed:
    """Something that happened. `name` is whom it is about, `detail` what of it; `place` leads to its page:
    a worker's, an action's or an alert's number."""

    at: datetime
    what: What
    name: str
    detail: str = ""
    place: int | None = None


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
    workers = [worker for worker in rows if worker.online_at is None or worker.online_at < end]
    return [*_comings(workers, begin, end), *_goings(workers, begin, end), *releases(workers, begin, end)]


def _comings(workers: Iterable[Worker], begin: datetime, end: datetime) -> Iterator[Changed]:
    for worker in workers:
        if worker.online_at is not None and begin <= worker.online_at < end:
            yield Changed(worker.online_at, "worker online", worker.name, worker.release or "", worker.pk)


def _goings(workers: Iterable[Worker], begin: datetime, end: datetime) -> Iterator[Changed]:
    """Those that said goodbye, and those that were not heard of again."""
    for worker in workers:
        if worker.offline_at is not None:
            if begin <= worker.offline_at < end:
                yield Changed(worker.offline_at, "worker offline", worker.name, "", worker.pk)
        elif begin <= worker.seen_at < end - timedelta(seconds=WORKER_DEAD_AFTER):
            yield Changed(worker.seen_at, "worker silent", worker.name, "", worker.pk)


def releases(workers: Iterable[Worker], begin: datetime, end: datetime) -> list[Changed]:
    """Releases that the first worker of which came up in the span, after workers of another one."""
    first: dict[str, datetime] = {}
    for worker in workers:
        if worker.release and worker.online_at is not None:
            first[worker.release] = min(worker.online_at, first.get(worker.release, worker.online_at))
    earliest = min(first.values(), default=None)
    return [
        Changed(at, "release", release)
        for release, at in first.items()
        if begin <= at < end and earliest is not None and at > earliest
    ]


def _of_people(user: User, begin: datetime, end: datetime) -> Iterator[Changed]:
    for action in audit.between(begin, end, user, MOST):
        if action.command != "account.sign-in":
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
