"""Triggers: what they watch, what fired and what did not, and a rehearsal on the latest objects."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from django import forms
from django.core.exceptions import PermissionDenied
from django.db.models import Count
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from dashboard.visitors import oversees, scope_of_visitor, user_of
from jobs import access
from jobs.models import Firing, Trigger
from jobs.triggers.language import Unreadable
from workers.triggers import Rehearsal, faults, rehearse

PAGE = 50
LAST_ID = 2**63 - 1
DAY = timedelta(days=1)


class Place(forms.Form):
    """Where a page of firings begins."""

    before = forms.IntegerField(min_value=1, max_value=LAST_ID, required=False)


@dataclass(frozen=True)
class Row:
    """A trigger, what it made of the last day, and why it can't fire."""

    trigger: Trigger
    fired: int
    held_back: int
    failed: int
    problem: str


def _admit(request: HttpRequest) -> None:
    scope_of_visitor(request)
    if not oversees(user_of(request)):
        raise PermissionDenied(
            _("Triggers show objects of the whole site, which are beyond your role or your reach.")
        )


@require_safe
@never_cache
def index(request: HttpRequest) -> HttpResponse:
    _admit(request)
    counts = _counts_of_a_day()
    rows = [_row(trigger, counts) for trigger in Trigger.objects.all()]
    context = {"triggers": rows, "may_edit": access.has(request.user, "run_task")}
    return render(request, "triggers/list.html", context)


def _counts_of_a_day() -> dict[tuple[int, str], int]:
    lately = Firing.objects.filter(at__gte=timezone.now() - DAY).values_list("trigger", "outcome")
    return {(trigger, outcome): count for trigger, outcome, count in lately.annotate(count=Count("id"))}


def _row(trigger: Trigger, counts: dict[tuple[int, str], int]) -> Row:
    told = {outcome: counts.get((trigger.pk, outcome), 0) for outcome in Firing.Outcome}
    fired = told[Firing.Outcome.FIRED] + told[Firing.Outcome.REPLACED]
    problem = next(iter(faults(trigger).values()), "")
    return Row(trigger, fired, told[Firing.Outcome.HELD_BACK], told[Firing.Outcome.FAILED], problem)


@require_safe
@never_cache
def detail(request: HttpRequest, trigger_id: int) -> HttpResponse:
    _admit(request)
    trigger = get_object_or_404(Trigger, pk=trigger_id)
    place = Place(request.GET)
    before = (place.cleaned_data["before"] if place.is_valid() else None) or LAST_ID
    found = list(trigger.firings.filter(pk__lt=before).order_by("-pk")[: PAGE + 1])
    context = {
        "trigger": trigger,
        "firings": found[:PAGE],
        "older": found[PAGE - 1].pk if len(found) > PAGE else None,
        "rehearsal": _rehearsal(trigger) if "rehearse" in request.GET else None,
        "problem": next(iter(faults(trigger).values()), ""),
        "may_edit": access.has(request.user, "run_task"),
    }
    return render(request, "triggers/detail.html", context)


def _rehearsal(trigger: Trigger) -> list[Rehearsal]:
    try:
        return rehearse(trigger)
    except Unreadable:
        return []
