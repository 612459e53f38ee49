"""Errors: the list, worst first, and the page of one."""

from __future__ import annotations

from datetime import datetime

from django import forms
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from dashboard import error_rows
from dashboard.visitors import cluster_id_of, scope_of_visitor, user_of
from jobs import history
from jobs.errors import reading
from jobs.errors.reading import Query
from jobs.models import Error

LAST_ID = 2**63 - 1
SHOWN: dict[str, str] = {
    "open": "",
    "mine": "mine",
    "ignored": "ignored",
    "resolved": "resolved",
    "all": "all",
}


class Filters(forms.Form):
    """What to list, from the query string. `before` is where the page begins: microseconds and a number."""

    show = forms.ChoiceField(choices=[(value, name) for name, value in SHOWN.items()], required=False)
    task = forms.CharField(label=gettext_lazy("Task"), max_length=255, required=False)
    before = forms.RegexField(r"^[0-9]{1,16}\.[0-9]{1,18}$", required=False)

    def query(self, cluster_id: int, username: str) -> Query:
        """From a valid form."""
        told = self.cleaned_data
        show = told["show"] or "open"
        return Query(
            view="all" if show == "mine" else show,
            task=told["task"] or None,
            assignee=username if show == "mine" else None,
            before=error_rows.place_of(told["before"]),
            cluster_id=cluster_id,
        )


@require_safe
@never_cache
def index(request: HttpRequest) -> HttpResponse:
    scope_of_visitor(request)
    cluster_id, user, now = cluster_id_of(request), user_of(request), timezone.now()
    filters = Filters(request.GET)
    readable = filters.is_valid()
    query = filters.query(cluster_id, user.get_username()) if readable else Query(cluster_id=cluster_id)
    page = reading.find(query, user, now)
    show = (filters.cleaned_data.get("show") or "open") if readable else "open"
    # A page of several counts no more than its own rows.
    is_whole = query.before is None and page.older is None
    context = {
        "filters": filters,
        "tabs": error_rows.tabs(page.counts, show, query.task),
        "show": show,
        "task": query.task,
        "rows": error_rows.rows(page.listed) if readable else [],
        "lead": error_rows.lead(page.listed) if show == "open" and is_whole else "",
        "first_page": query.before is None,
        "older": _asking(request, page.older),
        "any": bool(page.counts.get("all") or query.task),
        "never": not query.task
        and not page.counts.get("all")
        and history.read_first_hour(cluster_id) is None,
    }
    return render(request, "errors/list.html", context, status=200 if readable else 400)


def _asking(request: HttpRequest, place: tuple[datetime, int] | None) -> str | None:
    """The same question for the next page."""
    cursor = error_rows.cursor_of(place)
    if cursor is None:
        return None
    question = request.GET.copy()
    question["before"] = cursor
    return question.urlencode()


@require_safe
@never_cache
def detail(request: HttpRequest, error_id: int) -> HttpResponse:
    error, user, now = error_of(request, error_id), user_of(request), timezone.now()
    [listed] = reading.listed([error], user, now)
    row = error_rows.row(listed)
    context = {
        "row": row,
        "error": error,
        "hours": reading.since_beginning(listed.hours, now)[::-1],
        "examples": reading.examples(error, user),
        "hidden": not error_rows.is_shown(user),
        "said": error_rows.said(error, now),
        "mine": error.assignee == user.get_username(),
    }
    return render(request, "errors/detail.html", context)


def error_of(request: HttpRequest, error_id: int) -> Error:
    """The error, if the visitor may see it. Raises Http404."""
    scope_of_visitor(request)
    seen = Error.objects.visible_to(user_of(request))
    found: Error | None = seen.filter(pk=min(error_id, LAST_ID)).first()
    if found is None:
        raise Http404(_("no such error"))
    return found
