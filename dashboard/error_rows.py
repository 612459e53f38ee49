"""How errors are shown: words and badges, from what `jobs.errors.reading` has read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from dashboard import formats
from jobs.errors.fingerprints import UNKNOWN
from jobs.errors.reading import Listed
from jobs.models import Error
from jobs.models.errors import ErrorStatus
from jobs.scopes import scope_of

if TYPE_CHECKING:
    from django.contrib.auth.models import User

TABS: dict[str, str | Promise] = {
    "open": gettext_lazy("Unresolved"),
    "mine": gettext_lazy("Mine"),
    "ignored": gettext_lazy("Ignored"),
    "resolved": gettext_lazy("Resolved"),
    "all": gettext_lazy("All"),
}


# The end of the year 2099, in microseconds.
LATEST = 4_102_444_799_000_000


@dataclass(frozen=True)
class Tab:
    """One way to look at errors; `count` is None where it is not counted."""

    name: str
    word: str
    count: int | None
    address: str
    current: bool


def tabs(counts: Mapping[str, int], show: str, task: str | None) -> list[Tab]:
    """All of them, with the same task."""
    return [
        Tab(name, str(word), counts.get(name), _address(name, task), name == show)
        for name, word in TABS.items()
    ]


def _address(name: str, task: str | None) -> str:
    told = {"show": "" if name == "open" else name, "task": task}
    return "?" + urlencode({key: value for key, value in told.items() if value})


@dataclass(frozen=True)
class Row:
    """An error in a list: what it is called, what it says, and a label for its bars."""

    listed: Listed
    name: str
    message: str
    trend: str

    @property
    def error(self) -> Error:
        return self.listed.error

    @property
    def bars(self) -> dict[str, Sequence[int]]:
        """Its last 24 hours, for the tag that draws them."""
        return {"hours": self.listed.hours}

    @property
    def title(self) -> str:
        """Its name and its message."""
        return f"{self.name}: {self.message}" if self.message else self.name

    @property
    def where(self) -> str:
        """The frame; "" for one that is unknown or not shown."""
        return "" if self.error.frame in ("", UNKNOWN) else self.error.frame


def row(listed: Listed) -> Row:
    error = listed.error
    if listed.is_other:
        return Row(listed, _("Other failures"), _("beyond the errors that are told apart"), _trend(listed))
    name = _("Unnamed exception") if error.exception in ("", UNKNOWN) else error.exception
    return Row(listed, name, error.message, _trend(listed))


def rows(listed: Sequence[Listed]) -> list[Row]:
    return [row(each) for each in listed]


def _trend(listed: Listed) -> str:
    return _("Last 24 hours: %(day)s in all, %(hour)s in the running hour") % {
        "day": formats.exact(listed.day),
        "hour": formats.exact(listed.hours[-1]),
    }


def lead(listed: Sequence[Listed]) -> str:
    """A sentence on what is open, of those listed."""
    regressed = sum(each.status == "regressed" for each in listed)
    new = sum(each.status == "new" for each in listed)
    told = [
        ngettext("%(n)d is new", "%(n)d are new", new) % {"n": new} if new else "",
        ngettext("%(n)d has come back", "%(n)d have come back", regressed) % {"n": regressed}
        if regressed
        else "",
    ]
    said = [text for text in told if text]
    return _("%(what)s.") % {"what": ", ".join(said)} if said else ""


def said(error: Error, now: datetime) -> str:
    """What people, or the record, have made of it."""
    if error.status == ErrorStatus.RESOLVED:
        return _("%(who)s has resolved it.") % {"who": error.resolved_by or "?"}
    if error.status == ErrorStatus.REGRESSED:
        return _("It has come back after %(who)s had resolved it.") % {"who": error.resolved_by or "?"}
    if error.status == ErrorStatus.IGNORED:
        return _("%(who)s ignores it %(until)s.") % {"who": error.ignored_by or "?", "until": _until(error)}
    return ""


def _until(error: Error) -> str:
    ends = []
    if error.ignored_until is not None:
        ends.append(_("until %(moment)s") % {"moment": formats.moment(error.ignored_until.timestamp())})
    if error.ignored_above is not None:
        left = max(0, error.ignored_above - error.times)
        ends.append(
            ngettext("until more than %(n)s job more fails", "until more than %(n)s jobs more fail", left)
            % {"n": formats.exact(left)}
        )
    return _(" or ").join(ends) or _("for good")


def is_shown(user: User) -> bool:
    """Whether `user` may see what exceptions say."""
    scope = scope_of(user)
    return scope is not None and scope.payload


def cursor_of(place: tuple[datetime, int] | None) -> str | None:
    """Where a page begins, as text: microseconds since the epoch, and a number."""
    if place is None:
        return None
    at, number = place
    return f"{int(at.timestamp()) * 1_000_000 + at.microsecond}.{number}"


def place_of(cursor: str | None) -> tuple[datetime, int] | None:
    """The same back, from a text of that form."""
    if not cursor:
        return None
    microseconds, _, number = cursor.partition(".")
    whole, rest = divmod(min(int(microseconds), LATEST), 1_000_000)
    return datetime.fromtimestamp(whole, UTC).replace(microsecond=rest), int(number)
