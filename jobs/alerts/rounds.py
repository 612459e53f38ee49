"""One look at all rules."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from jobs.alerts import kinds
from jobs.alerts.facts.look import Facts, Memory
from jobs.alerts.keeping import MOST_OPEN, Kept, end_all, keep
from jobs.alerts.looking import Asked, findings
from jobs.models import Alert, Rule


def look(cluster_id: int, now: datetime, memory: Memory) -> bool:
    """Look at each rule that is enabled, and end what is open of the others; whether an alert has changed.

    Facts are read once for all rules. A rule that can't be read says so in its `fault`, and stops no other.
    """
    facts = Facts(cluster_id, now, memory)
    open_of = set(
        Alert.objects.filter(cluster=cluster_id, resolved_at=None).values_list("rule_id", flat=True)
    )
    changed = False
    for rule in Rule.objects.select_related("team").order_by("pk"):
        kept = _look_at(rule, facts, open_of)
        changed = changed or kept.changed
    return changed


def _look_at(rule: Rule, facts: Facts, open_of: Collection[int]) -> Kept:
    if not rule.enabled:
        return end_all(facts.cluster_id, rule, facts.now) if rule.pk in open_of else Kept(False)
    try:
        found = findings(Asked.by(rule), facts)
        if rule.pk not in open_of and not any(finding.holds for finding in found or ()):
            kept = Kept(False)
        else:
            kept = keep(facts.cluster_id, rule, found, facts.now)
    except kinds.Unreadable as fault:
        _tell(rule, f"it can't be read: {fault}")
        return Kept(False)
    _tell(rule, f"more than {MOST_OPEN} alerts: only the worst are kept" if kept.too_many else "")
    return kept


def _tell(rule: Rule, fault: str) -> None:
    if rule.fault != fault[:500]:
        Rule.objects.filter(pk=rule.pk).update(fault=fault[:500])
