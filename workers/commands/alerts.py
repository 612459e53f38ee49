"""What people do about an alert: say that they are on it, silence it for a time, write down what is known."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from django.utils.translation import gettext as _

from jobs.alerts import notices
from jobs.models import Action, Alert, AlertChange
from jobs.models.alerts import AlertState
from jobs.models.people import Outcome
from jobs.perform import Refused, Settled, Subject, registered
from jobs.values import storable

if TYPE_CHECKING:
    from django.contrib.auth.models import User

What = AlertChange.What
LONGEST_SILENCE = timedelta(days=30)
LONGEST_NOTE = 500


@dataclass(frozen=True)
class OfAnAlert:
    """What a command about one alert begins with: its number."""

    alert: int

    def subject(self, user: User) -> Subject:
        found = Alert.objects.visible_to(user).filter(pk=self.alert).select_related("rule").first()
        if found is None:
            raise _missing()
        return Subject(
            "alert",
            str(found.pk),
            task=found.task,
            queue=found.queue,
            before={"rule": found.rule.name, "key": found.key, **_standing(found)},
            cluster_id=found.cluster_id,
        )

    def locked(self) -> Alert:
        """The alert as it is now; the monitor, which may be about to change it, waits.

        Raises Refused if it is gone, as one that was pending may be.
        """
        found: Alert | None = Alert.objects.select_for_update().filter(pk=self.alert).first()
        if found is None:
            raise _missing()
        return found

    def firing(self) -> Alert:
        """The same. Raises Refused unless it fires."""
        alert = self.locked()
        if alert.state == AlertState.RESOLVED:
            raise Refused("resolved", _("It is resolved already."))
        if alert.state == AlertState.PENDING:
            raise Refused("pending", _("It does not fire yet."))
        return alert


def _missing() -> Refused:
    return Refused("missing", _("No such alert is known."))


@registered
@dataclass(frozen=True)
class Acknowledge(OfAnAlert):
    """Say that somebody is on it: its channels are told, and nobody is escalated to."""

    name: ClassVar[str] = "alert.acknowledge"
    permission: ClassVar[str] = "handle_alert"

    def execute(self, action: Action) -> Settled:
        alert = self.firing()
        if alert.acknowledged_at is not None:
            raise Refused(
                "acknowledged", _("%(who)s has acknowledged it already.") % {"who": alert.acknowledged_by}
            )
        alert.acknowledged_at, alert.acknowledged_by = action.at, action.who
        alert.save(update_fields=["acknowledged_at", "acknowledged_by"])
        _write(alert, What.ACKNOWLEDGED, action, action.reason)
        notices.put(alert, "acknowledged")
        return Settled(Outcome.DONE, after=_standing(alert))


@registered
@dataclass(frozen=True)
class Silence(OfAnAlert):
    """Have it tell nobody anything, nor count as firing, for some seconds or until a moment: 30 days at most.

    It is still looked at, and is resolved when its cause has gone.
    """

    name: ClassVar[str] = "alert.silence"
    permission: ClassVar[str] = "handle_alert"
    until: datetime | None = None
    lasts: float | None = None

    def execute(self, action: Action) -> Settled:
        alert = self.locked()
        if alert.state == AlertState.RESOLVED:
            raise Refused("resolved", _("It is resolved already."))
        alert.silenced_until, alert.silenced_by = self._ends_at(action.at), action.who
        alert.save(update_fields=["silenced_until", "silenced_by"])
        _write(alert, What.SILENCED, action, _until(alert.silenced_until, action.reason))
        return Settled(Outcome.DONE, after=_standing(alert))

    def _ends_at(self, now: datetime) -> datetime:
        longest = LONGEST_SILENCE.total_seconds()
        if self.until is None and self.lasts is not None and 0 < self.lasts <= longest:
            return now + timedelta(seconds=self.lasts)
        until = self.until or now
        aware = until if until.tzinfo else until.replace(tzinfo=UTC)
        if self.lasts is not None or not now < aware <= now + LONGEST_SILENCE:
            raise Refused("until", _("The end of a silence should lie ahead, within 30 days."))
        return aware


@registered
@dataclass(frozen=True)
class Unsilence(OfAnAlert):
    """Have a silenced alert count, and tell, again."""

    name: ClassVar[str] = "alert.unsilence"
    permission: ClassVar[str] = "handle_alert"

    def execute(self, action: Action) -> Settled:
        alert = self.locked()
        if alert.silenced_until is None or alert.silenced_until <= action.at:
            raise Refused("not_silenced", _("It is not silenced."))
        alert.silenced_until, alert.silenced_by = None, ""
        alert.save(update_fields=["silenced_until", "silenced_by"])
        _write(alert, What.UNSILENCED, action, action.reason)
        return Settled(Outcome.DONE, after=_standing(alert))


@registered
@dataclass(frozen=True)
class Note(OfAnAlert):
    """Write down what is known of it, in place of what was noted before; an empty text takes that away."""

    name: ClassVar[str] = "alert.note"
    permission: ClassVar[str] = "handle_alert"
    text: str

    def execute(self, action: Action) -> Settled:
        if len(self.text) > LONGEST_NOTE:
            raise Refused("form", _("A note has at most %(most)d characters.") % {"most": LONGEST_NOTE})
        alert = self.locked()
        alert.note = storable(self.text.strip())
        alert.save(update_fields=["note"])
        _write(alert, What.NOTED, action, alert.note)
        return Settled(Outcome.DONE, after={"note": alert.note})


def _standing(alert: Alert) -> dict[str, Any]:
    return {
        "state": alert.state,
        "acknowledged_by": alert.acknowledged_by or None,
        "silenced_until": alert.silenced_until,
    }


def _until(moment: datetime, reason: str) -> str:
    """In the words of the history, which are for people."""
    told = moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
    return f"until {told}. {reason}".strip()


def _write(alert: Alert, what: AlertChange.What, action: Action, detail: str) -> None:
    AlertChange.objects.create(
        alert=alert, at=action.at, what=what, who=action.who, detail=detail[:LONGEST_NOTE]
    )
