"""What people do about an error: say that it is mended, ignore it, take it on, write down what is known."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, ClassVar

from django.contrib.auth.models import User
from django.utils.translation import gettext as _

from jobs.models import Action, Error
from jobs.models.errors import ErrorStatus
from jobs.models.people import Outcome
from jobs.perform import Refused, Settled, Subject, registered
from jobs.values import in_utc, storable

LONGEST_IGNORED = timedelta(days=365)
MOST_TIMES = 1_000_000_000
LONGEST_NOTE = 500


@dataclass(frozen=True)
class OfAnError:
    """What a command about one error begins with: its number."""

    error: int

    def subject(self, user: User) -> Subject:
        found = Error.objects.visible_to(user).filter(pk=self.error).first()
        if found is None:
            raise _missing()
        return Subject(
            "error",
            str(found.pk),
            task=found.task,
            queue=found.queue,
            before={"exception": found.exception, **_standing(found)},
            cluster_id=found.cluster_id,
        )

    def locked(self) -> Error:
        """The error as it is now; the monitor, which may be about to count, waits. Raises Refused."""
        found: Error | None = Error.objects.select_for_update().filter(pk=self.error).first()
        if found is None:
            raise _missing()
        return found


def _missing() -> Refused:
    return Refused("missing", _("No such error is known."))


@registered
@dataclass(frozen=True)
class Resolve(OfAnError):
    """Say that it is mended: the next job that fails with it makes it regressed."""

    name: ClassVar[str] = "error.resolve"
    permission: ClassVar[str] = "handle_alert"

    def execute(self, action: Action) -> Settled:
        error = self.locked()
        if error.status == ErrorStatus.RESOLVED:
            raise Refused("resolved", _("It is resolved already."))
        return _changed(
            error, status=ErrorStatus.RESOLVED, resolved_at=action.at, resolved_by=action.who, **NOT_IGNORED
        )


@registered
@dataclass(frozen=True)
class Ignore(OfAnError):
    """Have it not count as open for some seconds, until a moment, or until more than `times` more failed.

    With none of these, for good; `lasts` and `until` are a year at most.
    """

    name: ClassVar[str] = "error.ignore"
    permission: ClassVar[str] = "handle_alert"
    lasts: float | None = None
    until: datetime | None = None
    times: int | None = None

    def execute(self, action: Action) -> Settled:
        until, error = self._ends_at(action.at), self.locked()
        if self.times is not None and not 0 <= self.times <= MOST_TIMES:
            raise Refused("times", _("A count of jobs should be 0 to a thousand millions."))
        return _changed(
            error,
            status=ErrorStatus.IGNORED,
            ignored_by=action.who,
            ignored_until=until,
            ignored_above=None if self.times is None else error.times + self.times,
        )

    def _ends_at(self, now: datetime) -> datetime | None:
        if self.lasts is None and self.until is None:
            return None
        if (
            self.lasts is not None
            and self.until is None
            and 0 < self.lasts <= LONGEST_IGNORED.total_seconds()
        ):
            return now + timedelta(seconds=self.lasts)
        aware = in_utc(self.until or now)
        if self.lasts is not None or not now < aware <= now + LONGEST_IGNORED:
            raise Refused("until", _("The end should lie ahead, within a year: one of the two."))
        return aware


@registered
@dataclass(frozen=True)
class Reopen(OfAnError):
    """Have it count as open again."""

    name: ClassVar[str] = "error.reopen"
    permission: ClassVar[str] = "handle_alert"

    def execute(self, action: Action) -> Settled:
        error = self.locked()
        if error.status not in (ErrorStatus.RESOLVED, ErrorStatus.IGNORED):
            raise Refused("open", _("It is open already."))
        return _changed(error, status=ErrorStatus.UNRESOLVED, returned_at=action.at, **NOT_IGNORED)


@registered
@dataclass(frozen=True)
class Assign(OfAnError):
    """Say who is on it: the name of an account, or an empty text for nobody."""

    name: ClassVar[str] = "error.assign"
    permission: ClassVar[str] = "handle_alert"
    who: str

    def execute(self, action: Action) -> Settled:
        error = self.locked()
        if self.who and not User.objects.filter(username=self.who, is_active=True).exists():
            raise Refused("who", _("There is no active account of this name."))
        return _changed(error, assignee=self.who)


@registered
@dataclass(frozen=True)
class Note(OfAnError):
    """Write down what is known of it, in place of what was noted before; an empty text takes that away."""

    name: ClassVar[str] = "error.note"
    permission: ClassVar[str] = "handle_alert"
    text: str

    def execute(self, action: Action) -> Settled:
        if len(self.text) > LONGEST_NOTE:
            raise Refused("form", _("A note has at most %(most)d characters.") % {"most": LONGEST_NOTE})
        return _changed(self.locked(), note=storable(self.text.strip()))


NOT_IGNORED: dict[str, None] = {"ignored_until": None, "ignored_above": None}


def _changed(error: Error, **told: Any) -> Settled:
    for name, value in told.items():
        setattr(error, name, value)
    error.save(update_fields=list(told))
    return Settled(
        Outcome.DONE, after={**_standing(error), **({"note": error.note} if "note" in told else {})}
    )


def _standing(error: Error) -> dict[str, Any]:
    return {
        "status": error.status,
        "ignored_until": error.ignored_until,
        "ignored_above": error.ignored_above,
        "assignee": error.assignee or None,
        "times": error.times,
    }
