"""Jobs: the list with its filters, and the page of one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django import forms
from django.core.validators import MaxValueValidator, MinValueValidator
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from django.views.decorators.vary import vary_on_headers

from dashboard.addresses import READABLE, job_address
from dashboard.job_buttons import buttons
from dashboard.moment_fields import Moment
from dashboard.views.results import size_apart
from dashboard.visitors import cluster_id_of, scope_of_visitor
from dashboard.zones import address_in_utc, asked_in_utc, titled
from jobs import dead_letters, history, live, scopes, search
from jobs.errors.reading import same_as
from jobs.models import Job, State
from jobs.stats import EARLIEST, LATEST

LAST_ID = 2**63 - 1
ENDS = ("since", "until")
POSSIBLE = (MinValueValidator(EARLIEST), MaxValueValidator(LATEST))
NO_STATE = gettext_lazy("There is no state “%(value)s”.")


class Filters(forms.Form):
    """The filters of the list, from a query string in UTC."""

    state = forms.ChoiceField(
        label=gettext_lazy("State"),
        choices=[("", gettext_lazy("Any")), *State.choices],
        required=False,
        error_messages={"invalid_choice": NO_STATE},
    )
    task = forms.CharField(label=gettext_lazy("Task"), max_length=255, required=False, widget=forms.Select)
    queue = forms.CharField(label=gettext_lazy("Queue"), max_length=255, required=False, widget=forms.Select)
    since = Moment(label=titled(gettext_lazy("Published from")), required=False, validators=POSSIBLE)
    until = Moment(label=titled(gettext_lazy("Until")), required=False, validators=POSSIBLE)
    error = forms.IntegerField(min_value=1, max_value=LAST_ID, required=False, widget=forms.HiddenInput)

    def __init__(self, asked: QueryDict, known: search.Names) -> None:
        super().__init__(asked)
        self._offer("task", known.tasks)
        self._offer("queue", known.queues)

    def clean(self) -> dict[str, Any]:
        since, until = self.cleaned_data.get("since"), self.cleaned_data.get("until")
        if since and until and until <= since:
            self.add_error("until", _("The span ends before it begins."))
        return self.cleaned_data

    def chosen(self) -> list[tuple[str, Any]]:
        """What narrows the list, as the form shows it."""
        return [(name, self[name].value()) for name in self.changed_data]

    def _offer(self, name: str, known: list[str]) -> None:
        """What is known to choose from, and what was asked for even if nobody has heard of it lately."""
        asked = self.data.get(name)
        offered = [*known, asked] if asked and asked not in known else known
        self.fields[name].widget.choices = [("", _("Any")), *((value, value) for value in offered)]


class Place(forms.Form):
    """Where a page of the list begins."""

    before = forms.IntegerField(min_value=1, max_value=LAST_ID, required=False)
    after = forms.IntegerField(min_value=0, max_value=LAST_ID, required=False)


@dataclass(frozen=True)
class Listing:
    """A page of the list as the template shows it; `next` and `previous` are query strings."""

    jobs: list[Job]
    next: str | None
    previous: str | None
    count: str


@require_safe
@never_cache
@vary_on_headers("HX-Request")
def index(request: HttpRequest) -> HttpResponse:
    in_part = bool(getattr(request, "htmx", False))
    if there := address_in_utc(request, ENDS):
        return _pushed(_list(request, in_part, there), there) if in_part else redirect(there)
    return _list(request, in_part, request.get_full_path())


def _pushed(response: HttpResponse, address: str) -> HttpResponse:
    """The browser is to show this address instead of the one that it asked."""
    response["HX-Push-Url"] = address
    return response


def _list(request: HttpRequest, in_part: bool, address: str) -> HttpResponse:
    """The list, or its table alone; `address` asks for the same in UTC."""
    cluster_id, asked = cluster_id_of(request), asked_in_utc(request.GET, ENDS)
    filters = Filters(asked, search.names(cluster_id, request.user, timezone.now()))
    query = _query(filters, Place(asked), cluster_id)
    found = search.find(query, request.user) if query else search.EMPTY
    context = {
        "page": _listing(asked, found),
        "filters": filters,
        "address": address,
        "never_held": not found.jobs and history.read_first_hour(cluster_id) is None,
    }
    template = "jobs/_table.html" if in_part else "jobs/list.html"
    return render(request, template, context, status=200 if query else 400)


def _query(filters: Filters, place: Place, cluster_id: int) -> search.Query | None:
    """What to look for; None where the question can't be read, which `filters` then says."""
    if not place.is_valid():
        filters.add_error(None, _("The page to show can't be read; begin again with the newest."))
    if not filters.is_valid():
        return None
    wanted = {name: value or None for name, value in filters.cleaned_data.items()}
    return search.Query(**wanted, **place.cleaned_data, cluster_id=cluster_id)


def _listing(asked: QueryDict, found: search.Page) -> Listing:
    number = f"{found.count:,}+" if found.more else f"{found.count:,}"
    return Listing(
        jobs=found.jobs,
        next=_asking(asked, "before", found.older),
        previous=_asking(asked, "after", found.newer),
        count=ngettext("%(number)s job", "%(number)s jobs", found.count) % {"number": number},
    )


def _asking(asked: QueryDict, name: str, place: int | None) -> str | None:
    """The same question for a neighbouring page."""
    if place is None:
        return None
    question = asked.copy()
    question.pop("before", None)
    question.pop("after", None)
    question[name] = str(place)
    return question.urlencode()


@require_safe
@never_cache
def detail(request: HttpRequest, task_id: str) -> HttpResponse:
    return _page_of(request, {"cluster": cluster_id_of(request), "task_id": task_id})


@require_safe
@never_cache
def detail_by_number(request: HttpRequest, job_id: int) -> HttpResponse:
    """By number; a job whose task id is readable has a better address."""
    if job_id > LAST_ID:
        return _missing(request)
    found = Job.objects.visible_to(request.user).select_related("cluster").filter(pk=job_id).first()
    if found is not None and READABLE.fullmatch(found.task_id):
        return redirect(job_address(found))
    return _page_of(request, {"pk": job_id})


def _page_of(request: HttpRequest, key: dict[str, object]) -> HttpResponse:
    jobs = dead_letters.with_letters(Job.objects.visible_to(request.user).filter(**key))
    found = jobs.select_related("payload").first()
    if found is None:
        return _missing(request)
    now, scope = timezone.now(), scope_of_visitor(request)
    frame = live.job(found, scope, now)
    context = {
        "frame": frame,
        "buttons": buttons(request, found),
        "apart": size_apart(found),
        "letter": dead_letters.of_job(found),
        "same": same_as(found, scopes.named(scope), now) if found.state == State.FAILED else None,
    }
    return render(request, "jobs/detail.html", context)


def _missing(request: HttpRequest) -> HttpResponse:
    return render(request, "jobs/missing.html", status=404)
