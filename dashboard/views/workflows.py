"""Workflows: the latest, and one as rows over time and as a graph."""

from __future__ import annotations

from collections import Counter
from typing import Any

from django import forms
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from dashboard import formats, workflow_charts
from dashboard.acting import attempt, onward, refused
from dashboard.templatetags.nightdesk import BADGES
from dashboard.visitors import cluster_id_of, scope_of_visitor
from jobs import scopes, workflow_reading, workflows
from jobs.models import ENDED, Bulk
from jobs.models.bulk import Deed
from jobs.workflow_reading import Found, Summary, failed_of
from jobs.workflows import MOST_ROWS, Row
from workers.commands.bulk import MOST_CHOSEN, BulkPreview

LAST_ID = 2**63 - 1


class Place(forms.Form):
    """Where a page of the list begins."""

    before = forms.IntegerField(min_value=1, max_value=LAST_ID, required=False)


@require_safe
@never_cache
def index(request: HttpRequest) -> HttpResponse:
    scope, place = scopes.named(scope_of_visitor(request)), Place(request.GET)
    before = place.cleaned_data["before"] if place.is_valid() else None
    found = workflow_reading.latest(cluster_id_of(request), scope, before)
    context = {"rows": [_listed(one) for one in found.workflows], "found": found}
    return render(request, "workflows/list.html", context, status=200 if place.is_valid() else 400)


def _listed(one: Summary) -> dict[str, Any]:
    state = workflows.state_of(one.states)
    still = any(count for name, count in one.states.items() if name not in ENDED)
    took = (one.ended - one.published).total_seconds() if one.ended and one.published and not still else None
    return {"of": one, "state": state, "open": still, "took": took, "told": _counts(one.states)}


def _counts(states: Counter[str]) -> list[tuple[str, str]]:
    """States with their counts in words, in the order in which jobs go through them."""
    known = [state for state in BADGES if states.get(state)]
    return [(state, f"{formats.count(states[state])} {str(BADGES[state][0]).lower()}") for state in known]


def _read(request: HttpRequest, key: str) -> Found | None:
    """The workflow, as far as the visitor may see it."""
    return workflow_reading.read(key, cluster_id_of(request), scopes.named(scope_of_visitor(request)))


@require_safe
@never_cache
def detail(request: HttpRequest, key: str) -> HttpResponse:
    found = _read(request, key)
    if found is None:
        raise Http404("no such workflow")
    if found.moved is not None:
        return redirect("workflow", found.moved)
    healed = workflows.mended(found.members)
    rows = workflows.rows(found.members)
    states = Counter(one.state for one in found.members)
    gone = Counter(one.state for one in found.members if one.task_id in healed)
    context = {
        "key": key,
        "state": workflows.state_of(states - gone),
        "counts": _counts(states),
        "total": len(found.members),
        "more": found.more,
        "mended": gone["failed"] + gone["rejected"],
        "failed": len(failed_of(found.members, healed)),
        "most_chosen": MOST_CHOSEN,
        "name": next((one.task for one in found.members if one.task_id == key), None),
        "begin": min((one.published for one in found.members if one.published), default=None),
        **_drawn(rows, healed),
    }
    return render(request, "workflows/detail.html", context)


def _drawn(rows: list[Row], healed: set[str]) -> dict[str, Any]:
    shown = rows[:MOST_ROWS]
    words = [_says(row, healed) for row in shown]
    bars = workflow_charts.bars(shown, timezone.now().timestamp())
    return {
        "rows": [
            {"row": row, "says": says, "bar": bar, "deep": min(row.depth, 8), "took": _took(row)}
            for row, says, bar in zip(shown, words, bars, strict=True)
        ],
        "left_out": len(rows) - len(shown),
        "graph": workflow_charts.graph(rows, words) if len(rows) == len(shown) else None,
    }


def _says(row: Row, healed: set[str]) -> str:
    if row.single is None:
        return workflow_charts.told(row)
    word = str(BADGES[row.single.state][0]) if row.single.state in BADGES else row.single.state
    return _("%(state)s, then mended") % {"state": word} if row.single.task_id in healed else word


def _took(row: Row) -> float | None:
    """Seconds from the publish of the first to the end of the last; None while one is open, or unknown."""
    if row.ended is None or row.published is None:
        return None
    return max(0.0, (row.ended - row.published).total_seconds())


@require_POST
def retry(request: HttpRequest, key: str) -> HttpResponse:
    """Look at a retry of what failed in a workflow; the page of that bulk asks before it is done."""
    found, back = _read(request, key), reverse("workflow", args=[key])
    failed = failed_of(found.members, workflows.mended(found.members))[:MOST_CHOSEN] if found else []
    if not failed:
        return refused(request, "nothing", _("No job of it that you may see is failed now."), back)
    command = BulkPreview(Deed.RETRY, tuple(failed), cluster_id=cluster_id_of(request))
    action = attempt(request, command, back)
    if isinstance(action, HttpResponse):
        return action
    return onward(request, reverse("bulk", args=[Bulk.objects.get(asked=action).pk]))
