"""Alerts in the record, as the monitor would have written them."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from jobs.models import Alert, AlertChange, Rule
from jobs.models.alerts import About, AlertState, Kind

EVIDENCE: dict[str, dict[str, Any]] = {
    Kind.DEPTH: {"value": 1204, "limit": 1000, "oldest": 840.0},
    Kind.NO_CONSUMER: {"value": 1204, "oldest": 840.0, "readers": 0},
    Kind.FAILURE_RISE: {"value": 0.11, "failed": 212, "ended": 1900, "usual": 0.003, "limit": 0.02},
    Kind.OLDEST: {"value": 34.0, "limit": 30.0, "depth": 41},
    Kind.WORKER_DEAD: {"value": 3, "silent": 61.0},
    Kind.BEAT_SILENT: {"value": 61.0, "limit": 30.0},
    Kind.NEW_ERROR: {"value": 60.0, "first": 0.0, "last": 60.0, "returned": None, "exception": "KeyError"},
}


def a_rule(kind: Kind = Kind.DEPTH, **fields: Any) -> Rule:
    """A rule that is on; its name is that of its kind unless told."""
    return Rule.objects.create(**{"name": f"my {kind.label}", "kind": kind, **fields})


def an_alert(rule: Rule, now: datetime, key: str, *, minutes: float = 18, **fields: Any) -> Alert:
    """One that has been firing for some minutes, with its history."""
    since = now - timedelta(minutes=minutes)
    facts: dict[str, Any] = {
        "about": About.QUEUE if fields.get("queue") else About.TASK if fields.get("task") else About.WORKER,
        "severity": rule.severity,
        "state": AlertState.FIRING,
        "since": since,
        "fired_at": since,
        "noticed_at": since,
        "last_seen": now,
        "evidence": EVIDENCE.get(rule.kind, {}),
        "summary": f"{key} is ill",
    }
    alert = Alert.objects.create(rule=rule, key=key, **(facts | fields))
    AlertChange.objects.create(alert=alert, at=since, what=AlertChange.What.FIRING)
    return alert


def resolved(alert: Alert, now: datetime, *, taken_after: float | None = None, who: str = "ana") -> Alert:
    """The same one, over since now; with `taken_after` seconds somebody had acknowledged it."""
    if taken_after is not None:
        alert.acknowledged_at = (alert.noticed_at or alert.since) + timedelta(seconds=taken_after)
        alert.acknowledged_by = who
    alert.state, alert.resolved_at, alert.clear_since = AlertState.RESOLVED, now, now
    alert.save()
    AlertChange.objects.create(alert=alert, at=now, what=AlertChange.What.RESOLVED)
    return alert
