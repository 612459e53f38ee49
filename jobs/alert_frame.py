"""What every page tells of alerts: how many fire, and how bad. Two statements, however many there are."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from django.db.models import Count, Min, Q

from jobs import scopes
from jobs.attention import Told
from jobs.job_frame import epoch
from jobs.liveness import heartbeat_state
from jobs.models import Alert, Heartbeat
from jobs.models.alerts import AlertState, Severity
from jobs.scopes import Scope

Frame = dict[str, Any]


def alerts(cluster_id: int, scope: str, now: datetime) -> Frame:
    """The `alerts` dict of docs/frames.md: of what the scope shows."""
    counted = count(cluster_id, scopes.named(scope), now)
    return {"topic": f"alerts.{scope}", "at": now.timestamp(), **counted, "monitor": _monitor(now)}


def count(cluster_id: int, scope: Scope, now: datetime) -> Frame:
    """How many fire, and how bad; one statement."""
    rows = Alert.objects.within(scope).filter(cluster=cluster_id, resolved_at=None)
    firing = Q(state=AlertState.FIRING) & ~silenced(now)
    unowned = firing & Q(acknowledged_at=None)
    counts = rows.aggregate(
        **{level.value: Count("pk", filter=unowned & Q(severity=level)) for level in Severity},
        firing_=Count("pk", filter=firing),
        silenced_=Count("pk", filter=Q(state=AlertState.FIRING) & silenced(now)),
        pending_=Count("pk", filter=Q(state=AlertState.PENDING)),
        since_=Min("fired_at", filter=firing),
    )
    worst = next((level.value for level in Severity if counts[level.value]), None)
    return {
        "firing": counts["firing_"],
        "unowned": sum(counts[level.value] for level in Severity),
        "silenced": counts["silenced_"],
        "pending": counts["pending_"],
        "tone": worst or ("acknowledged" if counts["firing_"] else None),
        "since": epoch(counts["since_"]),
    }


def counted(alerts: Iterable[Told]) -> Frame:
    """The same of alerts that were read already."""
    known = list(alerts)
    firing = [alert for alert in known if alert.fires and not alert.silenced]
    levels = [alert.severity for alert in firing if not alert.owner]
    worst = next((level.value for level in Severity if level in levels), None)
    return {
        "firing": len(firing),
        "unowned": len(levels),
        "silenced": sum(alert.fires and alert.silenced for alert in known),
        "pending": sum(alert.fired_at is None for alert in known),
        "tone": worst or ("acknowledged" if firing else None),
        "since": epoch(min((alert.fired_at for alert in firing if alert.fired_at), default=None)),
    }


def silenced(now: datetime) -> Q:
    """Those that are to tell nobody anything for now."""
    return Q(silenced_until__gt=now)


def _monitor(now: datetime) -> str:
    """Whether rules are being looked at: the monitor does, while it is heard of."""
    state = heartbeat_state(Heartbeat.objects.filter(name="monitor").first(), now)
    return "late" if state == "dead" else state
