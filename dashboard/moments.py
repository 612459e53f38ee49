"""The past that a page is asked to show, read with care: `?at=2026-11-22T02:41`, or `?since=…&until=…`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from dashboard import formats, zones
from dashboard.visitors import cluster_id_of, scope_of_visitor
from jobs import scopes
from jobs.past import Then, look_back
from jobs.past_span import PastSpan, TooMuch, read_began
from jobs.stats import EARLIEST, MOST_STEPS
from jobs.values import in_utc

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
ENDS = ("since", "until")
STEPS: dict[int, str | Promise] = {
    -60: gettext_lazy("\N{MINUS SIGN}1 h"),
    -15: gettext_lazy("\N{MINUS SIGN}15 min"),
    15: gettext_lazy("+15 min"),
    60: gettext_lazy("+1 h"),
}
LONGEST = 40


class NoMoment(ValueError):
    """What was asked for can't be shown; the text says why."""


@dataclass(frozen=True)
class Past:
    """What to show: the minute `at`, seen at its end; and what happened in the span that ends with it."""

    at: datetime
    span: PastSpan | None = None

    @property
    def question(self) -> dict[str, str]:
        """As the address has it."""
        if self.span is None:
            return {"at": field(self.at)}
        return {"since": _field(self.span.since), "until": _field(self.span.until)}

    @property
    def charted(self) -> dict[str, str]:
        """The span of its chart."""
        end = self.at + MINUTE
        return self.question if self.span else {"since": field(end - HOUR), "until": field(end)}


@dataclass(frozen=True)
class Step:
    """A way to another moment or span."""

    words: str | Promise
    query: str


def asked(request: HttpRequest) -> bool:
    """Whether the past is asked for; an empty moment is now."""
    return any(request.GET.get(name) for name in ("at", *ENDS))


def page(
    request: HttpRequest,
    template: str,
    frame_of: Callable[[Then], Mapping[str, Any]],
    *,
    counted: bool = False,
) -> HttpResponse:
    """A page about the past; 400 with the reason where there is none. `counted`: it has figures."""
    if there := zones.address_in_utc(request, ("at", *ENDS)):
        return redirect(there)
    scope, cluster_id = scopes.named(scope_of_visitor(request)), cluster_id_of(request)
    now = timezone.now()
    try:
        past = wanted(request.GET, now, read_began(cluster_id))
        kept_since = now - settings.RETENTION.minutes
        then = look_back(cluster_id, past.at, scope, kept_since, past.span, counted=counted)
    except (NoMoment, TooMuch) as fault:
        latest = Past(now - MINUTE)
        context = {"fault": str(fault), **_filled_in(latest)}
        return render(request, "past/none.html", context, status=400)
    return render(request, template, {"frame": frame_of(then), **_around(past, request.GET, now)})


def _around(past: Past, asked: QueryDict, now: datetime) -> dict[str, Any]:
    """What a page about the past says beside its frame; `when` and `charted` are query strings."""
    moment = past.at.timestamp()
    begin, end = map(zones.local, (past.span.since, past.span.until) if past.span else (moment, moment))
    ways = _steps_of_span(past.span, now) if past.span else _steps(past.at, now)
    return {
        "moment": past.at,
        "day": "" if begin.date() == timezone.localdate(now) else begin.date().isoformat(),
        "end_day": "" if end.date() == begin.date() else end.date().isoformat(),
        "since_zone": "" if zones.label(begin) == zones.label(end) else f" {zones.label(begin)}",
        "end_zone": zones.label(end),
        **_filled_in(past),
        "when": query(asked, past.question),
        "charted": query(asked, past.charted),
        "steps": [Step(words, query(asked, question)) for words, question in ways],
    }


def _filled_in(past: Past) -> dict[str, Any]:
    """What stands in the fields of the forms, as clocks of the visitor's zone show it."""
    ends = {end: zones.text_in_zone(text) for end, text in past.charted.items()}
    return {"at_field": zones.text_in_zone(field(past.at)), "ends": ends}


def _steps(at: datetime, now: datetime) -> Iterator[tuple[str | Promise, dict[str, str]]]:
    for minutes, words in STEPS.items():
        there = field(at + timedelta(minutes=minutes))
        if there < field(now):
            yield words, {"at": there}


def _steps_of_span(span: PastSpan, now: datetime) -> Iterator[tuple[str | Promise, dict[str, str]]]:
    """The span before, the one after, and twice as much around it: those of them that can be shown."""
    over, long = int(now.timestamp()) // 60 * 60, span.seconds
    later, half = min(span.until + long, over), long // 120 * 60 or 60
    ways = {_("Span before"): (span.since - long, span.since)}
    if later > span.until:
        ways[_("Span after")] = (later - long, later)
    ways[_("Zoom out")] = (span.since - half, min(span.until + half, over))
    for words, way in ways.items():
        question = ends(*way)
        if _is_shown(question, now, span.began):
            yield words, question


def _is_shown(question: Mapping[str, str], now: datetime, began: int) -> bool:
    try:
        wanted(question, now, began)
    except NoMoment:
        return False
    return True


def ends(since: int, until: int) -> dict[str, str]:
    """A span as addresses have it."""
    return {"since": _field(since), "until": _field(until)}


def query(asked: QueryDict, question: Mapping[str, str]) -> str:
    """A query string for the same cluster."""
    made = QueryDict(mutable=True)
    made.update(question)
    if cluster := asked.get("cluster"):
        made["cluster"] = cluster
    return made.urlencode(safe=":")


def wanted(asked: Mapping[str, str], now: datetime, began: int | None) -> Past:
    """What was asked for. Raises NoMoment where it can't be read, or the record doesn't hold it.

    `began`: the first moment that is counted, in seconds since the epoch.
    """
    if not any(asked.get(name) for name in ENDS):
        return Past(moment(asked.get("at", ""), now, began))
    over = now.replace(second=0, microsecond=0)
    until = read(asked["until"]) if asked.get("until") else over
    since = read(asked["since"]) if asked.get("since") else until - HOUR
    _refuse_a_span_that_is_none(since, until, over, began)
    seconds = int(since.timestamp()), int(until.timestamp())
    span = PastSpan.kept(*seconds, now.timestamp(), settings.RETENTION, began or 0)
    if len(span.steps) > MOST_STEPS:
        raise NoMoment(_("That is too long at once: ask for at most %(most)d days.") % {"most": MOST_STEPS})
    return Past(_utc(span.until) - MINUTE, span)


def _refuse_a_span_that_is_none(since: datetime, until: datetime, over: datetime, began: int | None) -> None:
    if until > over:
        raise NoMoment(_("The span ends in the future: the record shows what was."))
    if until <= since:
        raise NoMoment(_("The span ends before it begins."))
    if began is None or until.timestamp() <= began:
        raise NoMoment(_began(began))


def moment(text: str, now: datetime, began: int | None) -> datetime:
    """The minute that `text` names. Raises NoMoment where it can't be read, or the record doesn't hold it."""
    at = read(text)
    if at >= now.replace(second=0, microsecond=0):
        raise NoMoment(_("That minute is not over yet: the record shows what was."))
    if began is None or at.timestamp() < began:
        raise NoMoment(_began(began))
    # The hour before it is shown, too.
    if at < now - settings.RETENTION.minutes + HOUR:
        days = settings.RETENTION.minutes.days
        raise NoMoment(_("Minutes are kept for %(days)s days; that one is older.") % {"days": days})
    return at


def read(text: str) -> datetime:
    """The minute that a text names, in UTC. Raises NoMoment."""
    try:
        at = datetime.fromisoformat(text[:LONGEST])
        aware = in_utc(at).astimezone(UTC)
    except (ValueError, OverflowError):
        raise NoMoment(_("That is no moment: write it like 2026-11-22T02:41, in UTC.")) from None
    return max(EARLIEST, aware.replace(second=0, microsecond=0))


def _began(began: int | None) -> str:
    if began is None:
        return _("The record has not begun yet.")
    return _("The record begins at %(moment)s.") % {"moment": formats.moment(began)}


def field(at: datetime) -> str:
    """As addresses have it, in UTC."""
    return at.strftime("%Y-%m-%dT%H:%M")


def _field(seconds: int) -> str:
    return field(_utc(seconds))


def _utc(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
