"""What the API tells of alerts and their rules."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.http import HttpRequest
from ninja import Query, Router

from dashboard.api.asked import LAST_ID, Name, PageAsked, only_known
from dashboard.api.problems import missing
from dashboard.api.reading import scope_of
from dashboard.api.schemas import Told
from jobs.models import Alert as AlertRow
from jobs.models import AlertChange
from jobs.models import Rule as RuleRow
from jobs.models.alerts import AlertState

PAGE_SIZE = 50
router = Router()


class Alert(Told):
    """One finding of one rule. `evidence` are numbers with their names: durations are seconds, moments
    seconds since the epoch, null is not known. It fires from `fired_at` to `resolved_at`."""

    id: int
    rule_id: int
    rule: str
    team: str | None
    about: str
    key: str
    task: str | None
    queue: str | None
    severity: str
    state: str
    since: datetime
    fired_at: datetime | None
    resolved_at: datetime | None
    last_seen: datetime
    acknowledged_at: datetime | None
    acknowledged_by: str | None
    silenced_until: datetime | None
    summary: str
    note: str
    evidence: dict[str, Any]


class Change(Told):
    """A line of an alert's history; `who` is null where the monitor did it."""

    at: datetime
    what: str
    who: str | None
    detail: str


class AlertDetail(Alert):
    """An alert with its history, the oldest first."""

    changes: list[Change]


class Alerts(Told):
    """A page, the newest first."""

    alerts: list[Alert]
    next: str | None


class Rule(Told):
    """What is worth an alert. `params` are those of its kind; `built_in` names one that came with the
    product; `fault` says why it could not be looked at."""

    id: int
    name: str
    kind: str
    enabled: bool
    params: dict[str, Any]
    tasks: str
    queues: str
    team: str | None
    severity: str
    for_seconds: float
    resolve_seconds: float
    escalate_after: float | None
    runbook_url: str
    note: str
    built_in: str | None
    fault: str


class Rules(Told):
    """All rules, by name."""

    rules: list[Rule]


class AlertsAsked(PageAsked):
    """Which alerts: all that is given must hold."""

    state: AlertState | None = None
    queue: Name | None = None
    task: Name | None = None


@router.get("/alerts", response=Alerts, tags=["alerts"], summary="Alerts, newest first")
def list_alerts(request: HttpRequest, asked: Query[AlertsAsked]) -> dict[str, Any]:
    """A page of at most 50, as far as the reach of this token goes."""
    only_known(request, AlertsAsked)
    told = {"state": asked.state, "queue": asked.queue, "task": asked.task}
    wanted: dict[str, Any] = {name: value for name, value in told.items() if value}
    if asked.cursor:
        wanted["pk__lt"] = int(asked.cursor)
    rows = AlertRow.objects.within(scope_of(request)).filter(**wanted).select_related("rule__team")
    found = list(rows.order_by("-pk")[: PAGE_SIZE + 1])
    following = str(found[PAGE_SIZE - 1].pk) if len(found) > PAGE_SIZE else None
    return {"alerts": [_alert(each) for each in found[:PAGE_SIZE]], "next": following}


@router.get("/alerts/{int:alert_id}", response=AlertDetail, tags=["alerts"], summary="An alert")
def alert(request: HttpRequest, alert_id: int) -> dict[str, Any]:
    """With its history."""
    rows = AlertRow.objects.within(scope_of(request)).select_related("rule__team")
    found = rows.filter(pk=min(alert_id, LAST_ID)).first()
    if found is None:
        raise missing("There is no such alert, or it is beyond the reach of this token.")
    return {**_alert(found), "changes": [_change(each) for each in found.changes.all()[:200]]}


@router.get("/rules", response=Rules, tags=["alerts"], summary="The rules of alerts")
def list_rules(request: HttpRequest) -> dict[str, Any]:
    """All of them; whom they tell is not among it."""
    scope_of(request)
    rows = RuleRow.objects.select_related("team")
    return {"rules": [_told(Rule, each, team=each.team and each.team.name) for each in rows]}


def _alert(row: AlertRow) -> dict[str, Any]:
    team = row.rule.team.name if row.rule.team else None
    by = row.acknowledged_by or None
    return _told(Alert, row, rule=row.rule.name, team=team, acknowledged_by=by)


def _change(row: AlertChange) -> dict[str, Any]:
    return _told(Change, row, who=row.who or None)


def _told(schema: type[Told], row: Any, **instead: Any) -> dict[str, Any]:
    """The columns that a schema names, and what stands in place of some."""
    return {name: instead[name] if name in instead else getattr(row, name) for name in schema.model_fields}
