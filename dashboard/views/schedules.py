"""Schedules: what Beat sends, when, and what became of each tick."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from django import forms
from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from django_celery_beat.models import PeriodicTask

from dashboard.schedule_pages import carried, coming, edits_of, evidence, listed
from dashboard.schedule_rows import beat_of, queue_of, read_rows, schedule_of
from dashboard.tick_strips import jobs_of_ticks, latest_ticks, strip_of
from dashboard.visitors import scope_of_visitor, user_of
from jobs import access, scopes
from jobs.models import Cluster, Overlap, SchedulePolicy
from jobs.models.schedules import CatchUp
from jobs.perform import Refused
from jobs.ticks import beat_state
from jobs.ticks.deciding import next_unsent
from jobs.ticks.plans import UNREADABLE, beginning, plan_of, policy_of, timeline_of
from jobs.ticks.reading import STALLED_AFTER
from jobs.ticks.rhythms import LEAST
from jobs.trust import read_trust
from workers.commands.schedules import find_schedule

AT_ONCE = 100


class Place(forms.Form):
    """Where a page of the list, or of the ticks, begins."""

    page = forms.IntegerField(min_value=1, max_value=100_000, required=False)
    before = forms.IntegerField(min_value=0, max_value=4_102_444_800_000_000, required=False)


def _place(request: HttpRequest, name: str) -> int:
    form = Place(request.GET)
    form.is_valid()
    return int(form.cleaned_data.get(name) or 0)


@require_safe
@never_cache
def index(request: HttpRequest) -> HttpResponse:
    scope, now = scopes.named(scope_of_visitor(request)), timezone.now()
    trust = read_trust(Cluster.DEFAULT_ID, now)
    page = max(1, _place(request, "page"))
    rows, shown = read_rows(now, scope, slice((page - 1) * AT_ONCE, page * AT_ONCE))
    context = {
        "schedules": listed(shown, rows, scope),
        "page": page,
        "more": len(rows) > page * AT_ONCE,
        "count": len(rows),
        "beat": beat_of(trust.heartbeats.get("beat"), now),
        "record": trust.record(),
        "overdue": _overdue(rows.values(), now),
        "now": now,
        "may_edit": _may_edit(request),
        "read_only": settings.READ_ONLY,
    }
    return render(request, "schedules/list.html", context)


def _overdue(rows: Iterable[PeriodicTask], now: datetime) -> datetime | None:
    """Since when one of these has a tick that Beat should have decided; None where none has."""
    told = [timeline.next_at for row in rows if row.enabled and (timeline := timeline_of(row)) is not None]
    return min((at for at in told if at is not None and at < now - STALLED_AFTER), default=None)


def _may_edit(request: HttpRequest) -> bool:
    """Whether the visitor may edit schedules in the admin, were it not for the whole installation."""
    user = user_of(request)
    return user.is_staff and access.has(user, "edit_schedule") and access.has(user, "view_payload")


def schedule_for(request: HttpRequest, schedule_id: int) -> PeriodicTask:
    """The schedule, if the visitor may see it. Raises Http404."""
    scope_of_visitor(request)
    try:
        return find_schedule(schedule_id, user_of(request))
    except Refused as refusal:
        raise Http404(str(refusal)) from None


@require_safe
@never_cache
def detail(request: HttpRequest, schedule_id: int) -> HttpResponse:
    row = schedule_for(request, schedule_id)
    scope, now = scopes.named(scope_of_visitor(request)), timezone.now()
    shown, older = evidence(row.pk, _place(request, "before"), scope)
    latest = latest_ticks([row.pk])[row.pk]
    context = {
        **facts_of(row, now),
        "strip": strip_of(latest, jobs_of_ticks(latest, scope)),
        "ticks": shown,
        "older": older,
        "edits": edits_of(row.name, user_of(request)),
        "may_read_audit": access.has(user_of(request), "view_audit"),
        "may_edit": _may_edit(request),
        "payload": scope.payload,
        "carries": [carried(row.args), carried(row.kwargs)],
        "standing": beat_state(now),
    }
    return render(request, "schedules/detail.html", context)


def facts_of(row: PeriodicTask, now: Any) -> dict[str, Any]:
    """What each page about one schedule shows."""
    policy = policy_of(row) or SchedulePolicy(schedule=row)
    return {
        "schedule": schedule_of(row, now),
        "row": row,
        "queue": queue_of(row),
        "policy": policy,
        "overlap": Overlap(policy.overlap).label,
        "catch_up": CatchUp(policy.catch_up).label,
        "paused": policy.paused_until is not None and policy.paused_until > now,
        "coming": _coming(row, now),
        "now": now,
    }


def _coming(row: PeriodicTask, now: Any) -> list[Any]:
    if not row.enabled:
        return []
    try:
        begin = beginning(row, timeline_of(row), now)
        plan = plan_of(row, begin, policy_of(row))
        first = next_unsent(plan, begin, now)
        return coming(plan, first - LEAST) if first is not None else []
    except UNREADABLE:
        return []
