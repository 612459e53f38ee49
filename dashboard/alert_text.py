"""An alert as plain text, to be copied into a chat or a report."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from django.utils import timezone
from django.utils.translation import gettext as _

from dashboard.alert_rows import standing
from dashboard.alert_words import facts, headline, sentence
from dashboard.templatetags.nightdesk import BADGES
from jobs.changes import Changed
from jobs.models import Alert

MOST_CHANGES = 8
STAMP = "%Y-%m-%d %H:%M:%S UTC"


def summary(alert: Alert, changes: Sequence[Changed], address: str, now: datetime) -> str:
    """What is wrong, since when, the evidence, who is on it, and what changed before; always in UTC."""
    with timezone.override(UTC):
        return "\n".join([*_lines(alert, changes, now), "", address])


def _lines(alert: Alert, changes: Sequence[Changed], now: datetime) -> list[str]:
    lines = [headline(alert), sentence(alert, now.timestamp()), "", *_standing(alert, now), ""]
    lines += [f"- {fact.label}: {fact.text}" for fact in facts(alert, now.timestamp())]
    return lines + _changed(changes)


def _standing(alert: Alert, now: datetime) -> Iterator[str]:
    badge, word = standing(alert, now)
    yield _("State: %(state)s") % {"state": word or BADGES[badge][0]}
    yield _("Since: %(since)s") % {"since": _stamp(alert.since)}
    if alert.acknowledged_at is not None:
        said = {"who": alert.acknowledged_by, "at": _stamp(alert.acknowledged_at)}
        yield _("Acknowledged: %(who)s, %(at)s") % said
    if alert.resolved_at is not None:
        yield _("Resolved: %(at)s") % {"at": _stamp(alert.resolved_at)}
    yield _("Rule: %(rule)s") % {"rule": alert.rule.name}
    if alert.rule.runbook_url:
        yield _("Runbook: %(address)s") % {"address": alert.rule.runbook_url}
    if alert.note:
        yield _("Note: %(note)s") % {"note": alert.note}


def _changed(changes: Sequence[Changed]) -> list[str]:
    if not changes:
        return []
    told = [f"- {_stamp(change.at)} {words_of(change)}" for change in changes[:MOST_CHANGES]]
    return ["", _("What changed before:"), *told]


def words_of(change: Changed) -> str:
    """A change, in a few words."""
    words = {
        "worker online": _("worker %(name)s came up %(detail)s"),
        "resolved": _("alert over: %(name)s %(detail)s"),
        "worker offline": _("worker %(name)s left"),
        "worker silent": _("worker %(name)s went silent"),
        "release": _("release %(name)s"),
        "action": _("%(name)s: %(detail)s"),
        "gap": _("events of %(name)s went missing %(detail)s"),
        "alert": _("alert: %(name)s %(detail)s"),
    }
    if change.what == "gap" and not change.name:
        return _("events went missing")
    others = _(" and %(others)s more") % {"others": change.count - 1} if change.count > 1 else ""
    return (words[change.what] % {"name": change.name + others, "detail": change.detail}).strip()


def _stamp(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime(STAMP)
