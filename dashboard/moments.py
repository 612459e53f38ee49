"""The moment that a page is asked to show: `?at=2026-11-22T02:41` (UTC), read with care."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.translation import gettext as _

from dashboard import formats
from dashboard.visitors import cluster_id_of, scope_of_visitor
from jobs import scopes
from jobs.history import read_first_hour
from jobs.past import Then, look_back

MINUTE = timedelta(minutes=1)
STEPS = (-60, -15, 15, 60)
LONGEST = 40


class NoMoment(ValueError):
    """What was asked for can't be shown; the text says why."""


@dataclass(frozen=True)
class Step:
    """A way to another moment: `minutes` from here."""

    minutes: int
    at: str


def asked(request: HttpRequest) -> bool:
    """Whether an earlier moment is asked for; an empty one is now."""
    return bool(request.GET.get("at"))


def page(request: HttpRequest, template: str, frame_of: Callable[[Then], Mapping[str, Any]]) -> HttpResponse:
    """A page about an earlier moment; 400 with the reason where there is none."""
    scope, cluster_id = scopes.named(scope_of_visitor(request)), cluster_id_of(request)
    text, now = request.GET["at"], timezone.now()
    try:
        at = moment(text, now, read_first_hour(cluster_id))
    except NoMoment as fault:
        return render(
            request, "past/none.html", {"fault": str(fault), "latest": field(now - MINUTE)}, status=400
        )
    frame = frame_of(look_back(cluster_id, at, scope, kept_since=now - settings.RETENTION.minutes))
    steps = [Step(minutes, field(at + timedelta(minutes=minutes))) for minutes in STEPS]
    day = "" if at.date() == now.date() else at.date().isoformat()
    context = {"frame": frame, "moment": at, "day": day, "at_field": field(at)}
    return render(request, template, {**context, "steps": [step for step in steps if step.at < field(now)]})


def moment(text: str, now: datetime, first_hour: int | None) -> datetime:
    """The minute that `text` names. Raises NoMoment where it can't be read, or the record doesn't hold it."""
    at = _read(text)
    if at >= now.replace(second=0, microsecond=0):
        raise NoMoment(_("That minute is not over yet: the record shows what was."))
    if first_hour is None or at.timestamp() < first_hour * 3600:
        raise NoMoment(_began(first_hour))
    # The hour before it is shown, too.
    if at < now - settings.RETENTION.minutes + timedelta(hours=1):
        days = settings.RETENTION.minutes.days
        raise NoMoment(_("Minutes are kept for %(days)s days; that one is older.") % {"days": days})
    return at


def _read(text: str) -> datetime:
    try:
        at = datetime.fromisoformat(text[:LONGEST])
        aware = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except (ValueError, OverflowError):
        raise NoMoment(_("That is no moment: write it like 2026-11-22T02:41, in UTC.")) from None
    return aware.replace(second=0, microsecond=0)


def _began(first_hour: int | None) -> str:
    if first_hour is None:
        return _("The record has not begun yet.")
    return _("The record begins at %(moment)s.") % {"moment": formats.moment(first_hour * 3600)}


def field(at: datetime) -> str:
    """As a field of the kind datetime-local has it."""
    return at.strftime("%Y-%m-%dT%H:%M")
