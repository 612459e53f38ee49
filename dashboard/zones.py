"""The zone in which a visitor reads and writes times: UTC, or the one that they chose, which a cookie keeps.

What is stored, sent, exported and addressed stays in UTC. For each request but the
admin's the middleware makes the visitor's zone the active one, and what is shown asks here.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta, tzinfo
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

from django.http import HttpRequest, QueryDict
from django.utils import timezone
from django.utils.functional import lazy
from django.utils.html import format_html
from django.utils.safestring import SafeString

COOKIE = "nightdesk-zone"
# What names the zone that the moments of a form are meant in.
FIELD = "zone"
# Files beside the zones that are none, and that browsers don't know.
NO_ZONES = frozenset({"Factory", "localtime", "posixrules"})
# Zones are ahead of UTC by whole quarters of an hour; seconds.
OFFSETS = 900
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
LONGEST_MOMENT = 40
UNREADABLE = "?"


@cache
def names() -> frozenset[str]:
    """The zones that there are."""
    return frozenset(available_timezones()) - NO_ZONES


def regions() -> dict[str, list[str]]:
    """The same by region, for people to choose from: places, no short names of old."""
    found: dict[str, list[str]] = {}
    for name in sorted(names()):
        region, _, place = name.partition("/")
        if place:
            found.setdefault(region, []).append(name)
    return found


def zone_named(name: str) -> tzinfo | None:
    """None for what is no zone."""
    return ZoneInfo(name) if name in names() else None


def zone_of(request: HttpRequest) -> tzinfo:
    """The visitor's; UTC for whoever chose none, or has a cookie that names none."""
    return zone_named(request.COOKIES.get(COOKIE, "")) or UTC


def current_name() -> str:
    """The zone of this request: "UTC", "Europe/Berlin"."""
    return str(timezone.get_current_timezone())


def _titled(words: str) -> str:
    return f"{words} ({current_name()})"


# The label of a field for a moment, with the zone that is meant: by its name, since its distance from UTC is
# another one in summer.
titled: Any = lazy(_titled, str)


def local(seconds: float) -> datetime:
    """A moment, in whole seconds since the epoch, as clocks show it there."""
    return datetime.fromtimestamp(math.floor(seconds), timezone.get_current_timezone())


def label(at: datetime) -> str:
    """How far clocks are from UTC at that moment: "UTC", "UTC+1", "UTC+5:30", "UTC-3"."""
    offset = at.utcoffset() or timedelta(0)
    if not offset:
        return "UTC"
    hours, rest = divmod(abs(offset), HOUR)
    minutes = f":{rest // MINUTE:02}" if rest else ""
    return f"UTC{'-' if offset < timedelta(0) else '+'}{hours}{minutes}"


def round_moments(start: int, end: int, step: int) -> list[int]:
    """The moments from `start` to before `end` at which clocks show a multiple of `step`, all in seconds."""
    # What clocks show may go back or leap between two moments, so it is asked at each that can be round.
    fine = math.gcd(step, OFFSETS)
    return [at for at in range(-(-start // fine) * fine, end, fine) if (at + _ahead(at)) % step == 0]


def _ahead(at: int) -> int:
    return int((local(at).utcoffset() or timedelta(0)).total_seconds())


# Moments as texts, as forms and addresses have them


def hidden_field() -> SafeString:
    """Says in a form which zone its moments are meant in; nothing for UTC, as in addresses."""
    name = current_name()
    if name == "UTC":
        return SafeString("")
    return format_html('<input type="hidden" name="{}" value="{}">', FIELD, name)


def text_in_utc(text: str, zone: str) -> str:
    """A moment that was written in the zone of this name, in UTC; in none, what nobody can read.

    Of two moments that the clock shows alike it is the first, and what clocks
    leave out is counted on from the hour before. What is no moment stays as it is.
    """
    if not zone or not text:
        return text
    there = zone_named(zone)
    return UNREADABLE if there is None else _rewritten(text, there, UTC)


def text_in_zone(text: str) -> str:
    """A moment in UTC as the fields of a form have it; what is no moment stays as it is."""
    return text if current_name() == "UTC" else _rewritten(text, UTC, timezone.get_current_timezone())


def _rewritten(text: str, meant: tzinfo, wanted: tzinfo) -> str:
    try:
        at = datetime.fromisoformat(text[:LONGEST_MOMENT])
        there = (at if at.tzinfo else at.replace(tzinfo=meant)).astimezone(wanted)
    except (ValueError, OverflowError):
        return text
    return there.replace(tzinfo=None).isoformat(timespec="seconds" if there.second else "minutes")


def asked_in_utc(asked: QueryDict, moments: tuple[str, ...]) -> QueryDict:
    """The same question with its moments in UTC; itself where it names no zone."""
    if FIELD not in asked:
        return asked
    made = asked.copy()
    zone = str(made.pop(FIELD)[-1])
    for name in moments:
        if text := made.get(name):
            made[name] = text_in_utc(text, zone)
    return made


def address_in_utc(request: HttpRequest, moments: tuple[str, ...]) -> str | None:
    """Where the same is asked in UTC, so that people can share it; None where it is already."""
    asked = asked_in_utc(request.GET, moments)
    return None if asked is request.GET else f"{request.path}?{asked.urlencode(safe=':')}"
