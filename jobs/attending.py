"""What the overview tells beside its figures: what needs somebody, and what changed. Reads alerts alone."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from jobs import alert_frame
from jobs.adrift import telling
from jobs.adrift.needs import needs_of
from jobs.attention import MOST, Attention, Facts, Need, Told, attention
from jobs.changes import Changed, in_short, of_workers
from jobs.job_frame import epoch
from jobs.liveness import heartbeat_state
from jobs.models import Alert
from jobs.models.alerts import About
from jobs.queue_rows import depths
from jobs.scopes import Scope
from jobs.seen import CHANGES_OF, Seen
from jobs.worker_frame import worker_row

# Beyond so many alerts their sum is counted by the database.
MOST_ALERTS = 500
MOST_CHANGES = 20
FIELDS = (
    "id",
    "rule__kind",
    "rule__name",
    "about",
    "key",
    "task",
    "severity",
    "since",
    "fired_at",
    "resolved_at",
    "acknowledged_at",
    "acknowledged_by",
    "silenced_until",
    "evidence",
)


def read_alerts(cluster_id: int, scope: Scope, now: datetime) -> list[Told]:
    """Those that are open, and those that were resolved in the last two hours; one statement."""
    rows = Alert.objects.within(scope).filter(cluster=cluster_id).order_by()
    lately = rows.filter(resolved_at__gte=now - CHANGES_OF).values_list(*FIELDS)
    told = rows.filter(resolved_at=None).values_list(*FIELDS).union(lately, all=True)
    return [_told(now, *row) for row in told[:MOST_ALERTS]]


def _told(now: datetime, *row: Any) -> Told:
    told = dict(zip(FIELDS, row, strict=True))
    silenced_until = told["silenced_until"]
    return Told(
        id=told["id"],
        kind=told["rule__kind"],
        rule=told["rule__name"],
        about=told["about"],
        key=told["key"],
        task=told["task"],
        severity=told["severity"],
        since=told["since"],
        fired_at=told["fired_at"],
        resolved_at=told["resolved_at"],
        owner="" if told["acknowledged_at"] is None else told["acknowledged_by"],
        silenced=silenced_until is not None and silenced_until > now,
        evidence=told["evidence"],
    )


def alert_counts(alerts: Sequence[Told], cluster_id: int, scope: Scope, now: datetime) -> dict[str, Any]:
    """What every page tells of alerts; no statement, unless there are very many."""
    if len(alerts) >= MOST_ALERTS:
        return alert_frame.count(cluster_id, scope, now)
    return alert_frame.counted(alerts)


# What needs somebody


def attention_of(seen: Seen, queues: Sequence[Mapping[str, Any]], alerts: Iterable[Told]) -> Attention:
    """What there is to tell, worst first."""
    dead = [worker_row(worker, state, seen.scope) for worker, state in seen.workers if state == "dead"]
    facts = Facts(
        at=seen.at,
        queues=queues,
        dead=dead,
        lately=seen.traffic.lately,
        tasks=seen.traffic.tasks,
        beat_silent_since=_beat_silent_since(seen),
        last_gap=epoch(seen.trust.gaps.last_end),
        lost=seen.trust.gaps.lost or None,
        others=needs_of(telling.read(seen.trust, seen.scope), {worker["name"] for worker in dead}),
    )
    return attention(facts, alerts)


def _beat_silent_since(seen: Seen) -> float | None:
    """None where Beat is heard, or has never been."""
    beat = seen.trust.heartbeats.get("beat")
    return epoch(beat.at) if beat and heartbeat_state(beat, seen.now) == "dead" else None


def needs_row(found: Attention, seen: Seen) -> dict[str, Any]:
    """The `needs` of docs/frames.md."""
    return {
        "rows": [_row(need, seen) for need in found.needs[:MOST]],
        "more": max(0, len(found.needs) - MOST),
        "total": len(found.needs),
        "unowned": found.unowned,
        "silenced": found.silenced,
    }


def _row(need: Need, seen: Seen) -> dict[str, Any]:
    return {
        # Another sentence is another row.
        "id": f"{need.about} {need.what} {need.name}",
        "what": need.what,
        "name": need.name,
        # What jobs of it are found by.
        "measure": "queue" if need.about == About.QUEUE else "task",
        "severity": need.severity,
        "since": need.since,
        "facts": dict(need.facts),
        # The number of the job that shows it best.
        "oldest": need.facts.get("job"),
        "trend": depths(seen, need.name) if need.about == About.QUEUE else [],
        "alert": need.alert,
        "owner": need.owner,
        "more": need.more,
    }


# What changed


def changes_of(seen: Seen, alerts: Iterable[Told]) -> list[Changed]:
    """Of the last two hours, the latest first; what people did is told apart, to those who may know."""
    begin = seen.now - CHANGES_OF
    changes = [
        *of_workers(seen.incarnations, begin, seen.now, seen.trust.as_of),
        *_of_alerts(alerts, begin),
        *_of_gaps(seen, begin),
    ]
    return in_short(changes, MOST_CHANGES)


def _of_alerts(alerts: Iterable[Told], begin: datetime) -> Iterator[Changed]:
    for alert in alerts:
        if alert.fired_at is not None and alert.fired_at >= begin:
            yield Changed(alert.fired_at, "alert", alert.rule, alert.key, alert.id)
        if alert.resolved_at is not None and alert.fired_at is not None:
            yield Changed(alert.resolved_at, "resolved", alert.rule, alert.key, alert.id)


def _of_gaps(seen: Seen, begin: datetime) -> Iterator[Changed]:
    ended = seen.trust.gaps.last_end
    if ended is not None and ended >= begin:
        yield Changed(ended, "gap", "")


def change_row(change: Changed) -> dict[str, Any]:
    """One of the `changes` of docs/frames.md."""
    return {
        "at": change.at.timestamp(),
        "what": change.what,
        "name": change.name,
        "detail": change.detail,
        "place": change.place,
        "count": change.count,
    }


def told_key(changes: Sequence[Changed], acted: int) -> str:
    """Another one when what changed has another text: a page then asks for that again."""
    text = repr(([(change.at, change.what) for change in changes], acted))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def changed(row: Mapping[str, Any]) -> Changed:
    """What such a row tells."""
    return Changed(**{**row, "at": datetime.fromtimestamp(row["at"], UTC)})
