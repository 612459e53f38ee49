"""Keep the rows of alerts as findings come in: one transaction a rule, with the notices of what changed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from datetime import datetime

from jobs.alerts import kinds, notices
from jobs.alerts.findings import Finding, Findings
from jobs.alerts.life import Life, Policy, Step, advance, end, is_quiet
from jobs.alerts.words import summary
from jobs.models import Alert, AlertChange, Rule
from jobs.models.alerts import AlertState
from jobs.store.turns import written

# More open alerts of one rule than this tell nobody more; the worst come first.
MOST_OPEN = 100
LIFE = tuple(field.name for field in fields(Life))
# What a look may change; what people write (who acknowledged, until when it is silenced) is theirs.
KEPT = (
    "state",
    "since",
    "last_seen",
    "fired_at",
    "noticed_at",
    "escalated_at",
    "clear_since",
    "resolved_at",
    "flaps",
    "evidence",
    "summary",
    "task",
    "queue",
    "severity",
)
Change = tuple[Alert, Step]


@dataclass(frozen=True)
class Kept:
    """What a look has come to: whether any alert is in another state, and whether some were too many."""

    changed: bool
    too_many: bool = False


def policy_of(rule: Rule, now: datetime) -> Policy:
    """What a rule wants now. Raises kinds.Unreadable."""
    return Policy(
        for_seconds=rule.for_seconds,
        resolve_seconds=rule.resolve_seconds,
        escalate_after=rule.escalate_after,
        quiet=is_quiet(rule.quiet_from, rule.quiet_until, kinds.zone(rule.quiet_zone), now),
    )


def keep(cluster_id: int, rule: Rule, found: Findings, now: datetime) -> Kept:
    """Bring the alerts of a rule up to what it found; None: nobody can tell, so only times go on."""
    policy = policy_of(rule, now)
    with written():
        known = _open(cluster_id, rule)
        seen = {finding.key: finding for finding in found or ()}
        new = [finding for key, finding in seen.items() if finding.holds and key not in known]
        room = max(0, MOST_OPEN - len(known))
        steps = [
            *_of_known(known, seen, found is None, now, policy),
            *_of_new(cluster_id, rule, new[:room], now, policy),
        ]
        return Kept(_write(rule, steps, now), len(new) > room)


def end_all(cluster_id: int, rule: Rule, now: datetime) -> Kept:
    """Nobody looks at this rule any more: end what is open."""
    with written():
        steps = [(alert, end(_life_of(alert), now)) for alert in _open(cluster_id, rule).values()]
        return Kept(_write(rule, steps, now))


def _open(cluster_id: int, rule: Rule) -> dict[str, Alert]:
    rows = Alert.objects.select_for_update().filter(cluster=cluster_id, rule=rule, resolved_at=None)
    return {alert.key: alert for alert in rows.order_by("pk")}


def _of_known(
    known: Mapping[str, Alert], seen: Mapping[str, Finding], blind: bool, now: datetime, policy: Policy
) -> Iterable[Change]:
    for key, alert in known.items():
        finding = seen.get(key)
        holds = finding.holds if finding else (None if blind else False)
        if finding is not None and holds:
            _tell(alert, finding)
        yield alert, advance(_life_of(alert), holds, now, policy)


def _of_new(
    cluster_id: int, rule: Rule, new: Iterable[Finding], now: datetime, policy: Policy
) -> Iterable[Change]:
    for finding in new:
        alert = Alert(cluster_id=cluster_id, rule=rule, about=finding.about, key=finding.key)
        alert.rule = rule
        _tell(alert, finding)
        yield alert, advance(None, True, now, policy)


def _tell(alert: Alert, finding: Finding) -> None:
    """Write on an alert what was seen of its cause."""
    alert.evidence = dict(finding.evidence)
    alert.summary = summary(alert.rule.kind, finding)
    alert.task, alert.queue = finding.task, finding.queue
    alert.severity = alert.rule.severity


def _life_of(alert: Alert) -> Life:
    return Life(**{name: getattr(alert, name) for name in LIFE})


def _write(rule: Rule, steps: Iterable[Change], now: datetime) -> bool:
    """Write what has changed, with its history and notices; whether any state has."""
    unchanged, changed = list[Alert](), False
    for alert, step in steps:
        alert.rule = rule
        if step.life is None:
            _drop(alert)
        else:
            _take(alert, step.life)
            if step.changes:
                _save(alert, step, now)
            else:
                unchanged.append(alert)
        changed = changed or step.life is None or bool(step.changes)
    Alert.objects.bulk_update(unchanged, ["last_seen", "clear_since", "evidence", "summary"])
    return changed


def _drop(alert: Alert) -> None:
    """A suspicion that came to nothing leaves no trace."""
    alert.changes.all()._raw_delete(alert.changes.db)
    Alert.objects.filter(pk=alert.pk, state=AlertState.PENDING).delete()


def _take(alert: Alert, life: Life) -> None:
    for name in LIFE:
        setattr(alert, name, getattr(life, name))


def _save(alert: Alert, step: Step, now: datetime) -> None:
    alert.save(update_fields=None if alert._state.adding else KEPT)
    AlertChange.objects.bulk_create(
        AlertChange(alert=alert, at=now, what=what, detail=_detail(alert, what)) for what in step.changes
    )
    for event in step.events:
        notices.put(alert, event)


def _detail(alert: Alert, what: str) -> str:
    return alert.summary if what in ("pending", "firing", "returned") else ""
