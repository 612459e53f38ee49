"""Notices: what channels are to be told of an alert, written in the transaction that changes it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from django.db.models import Q, QuerySet

from jobs.models import Action, Alert, Channel, Notice, Rule

Event = Literal["firing", "resolved", "escalated", "acknowledged"]

# So that what one round finds goes in one message. In seconds.
GATHER = timedelta(seconds=1)
TEST = "test"


def put(alert: Alert, event: Event) -> None:
    """Have the channels of the alert's rule told of this event, once.

    Who was told that it fires is told that somebody has it in hand, and that it is over; where it
    is over before anybody was told, nobody is.
    """
    now = datetime.now(UTC)
    if event in ("resolved", "acknowledged"):
        _withdraw(alert, now)
        channels: Iterable[Channel] = _told_before(alert)
    elif event == "escalated":
        channels = alert.rule.escalation_channels.filter(enabled=True)
    else:
        channels = _told_first(alert.rule)
    facts = facts_of(alert)
    rows = [_notice(channel, event, facts, now, alert=alert) for channel in channels]
    Notice.objects.bulk_create(rows, ignore_conflicts=True)


def put_test(channel: Channel, action: Action) -> None:
    """Have this channel told that it is tried out."""
    _notice(channel, TEST, {"who": action.who}, action.at, action=action).save()


def waiting() -> QuerySet[Notice]:
    """All notices that are neither delivered nor given up."""
    return Notice.objects.filter(delivered_at=None, given_up_at=None)


def facts_of(alert: Alert) -> dict[str, Any]:
    """What is true of an alert now, as JSON; times in ISO 8601, seconds as floats."""
    rule = alert.rule
    return {
        "alert": alert.pk,
        "rule": rule.pk,
        "name": rule.name,
        "kind": rule.kind,
        "severity": alert.severity,
        "key": alert.key,
        "about": alert.about,
        "task": alert.task,
        "queue": alert.queue,
        "summary": alert.summary,
        "evidence": alert.evidence,
        "since": _iso(alert.since),
        "fired_at": _iso(alert.fired_at),
        "resolved_at": _iso(alert.resolved_at),
        "acknowledged_by": alert.acknowledged_by,
        "flaps": alert.flaps,
        "note": alert.note,
        "runbook": rule.runbook_url,
    }


def _told_first(rule: Rule) -> QuerySet[Channel]:
    """The channels that a rule names, else those that are told of what nobody else is."""
    own = rule.channels.filter(enabled=True)
    if rule.channels.exists():
        return own
    return Channel.objects.filter(Q(team=None) | Q(team=rule.team), enabled=True, default=True)


def _told_before(alert: Alert) -> QuerySet[Channel]:
    told = Notice.objects.filter(alert=alert, event__in=("firing", "escalated"))
    return Channel.objects.filter(
        pk__in=told.exclude(given_up_at__isnull=False, attempts=0).values("channel")
    )


def _withdraw(alert: Alert, now: datetime) -> None:
    """What no delivery was begun of is not worth telling any more."""
    late = waiting().filter(alert=alert, parcel=None)
    late.update(given_up_at=now, last_error="it was over, or in hand, before this was sent")


def _notice(
    channel: Channel,
    event: str,
    facts: dict[str, Any],
    now: datetime,
    alert: Alert | None = None,
    action: Action | None = None,
) -> Notice:
    due = now if alert is None else now + GATHER
    return Notice(channel=channel, alert=alert, action=action, event=event, facts=facts, at=now, next_try=due)


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
