"""Many jobs at once: the list of bulks, the page of one, and what is done with it."""

from __future__ import annotations

from typing import Any

from django import forms
from django.core.exceptions import BadRequest
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from dashboard import bulk_rows
from dashboard.acting import act, attempt, onward, refused
from dashboard.context import memory
from dashboard.moment_fields import Moment
from dashboard.visitors import cluster_id_of, scope_of_visitor, user_of
from jobs import bulks, live
from jobs.bulks import Preview
from jobs.models import Bulk
from jobs.models.bulk import BulkState, Deed
from jobs.scopes import scope_of
from jobs.values import storable
from workers.commands.bulk import (
    TYPED_ABOVE,
    BulkAbort,
    BulkPause,
    BulkPreview,
    BulkResume,
    BulkStart,
)

LAST_ID = 2**63 - 1
PAGE_SIZE = 50


class Chosen(forms.Form):
    """What the list of jobs asks for: some of its rows, or all that match its filter."""

    deed = forms.ChoiceField(choices=Deed.choices)
    all = forms.BooleanField(required=False)
    state = forms.CharField(required=False, max_length=12)
    task = forms.CharField(required=False, max_length=255)
    queue = forms.CharField(required=False, max_length=255)
    error = forms.IntegerField(required=False, min_value=1, max_value=LAST_ID)
    since = Moment(required=False)
    until = Moment(required=False)

    def command(self, task_ids: list[str], cluster_id: int) -> BulkPreview:
        """From a form that is valid."""
        told = self.cleaned_data
        if not told["all"]:
            return BulkPreview(told["deed"], tuple(task_ids), cluster_id=cluster_id)
        names = ("state", "task", "queue", "error", "since", "until")
        given: dict[str, Any] = {name: told[name] or None for name in names}
        return BulkPreview(told["deed"], **given, cluster_id=cluster_id)


class Terms(forms.Form):
    """How a bulk is to go on."""

    rate = forms.FloatField()
    stop_share = forms.FloatField(required=False)
    confirm = forms.IntegerField(required=False, error_messages={"invalid": gettext_lazy("Give a number.")})


class Place(forms.Form):
    """Where a page of a list begins."""

    before = forms.IntegerField(min_value=1, max_value=LAST_ID, required=False)
    after = forms.IntegerField(min_value=0, max_value=LAST_ID, required=False)


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
def index(request: HttpRequest) -> HttpResponse:
    """The list; a POST looks at a set of jobs."""
    return _preview(request) if request.method == "POST" else _list(request)


def _preview(request: HttpRequest) -> HttpResponse:
    chosen = [storable(task_id) for task_id in request.POST.getlist("job")]
    form, back = Chosen(request.POST), reverse("jobs")
    if not form.is_valid():
        return refused(request, "form", _("What was chosen can't be read: choose again."), back)
    action = attempt(request, form.command(chosen, cluster_id_of(request)), back)
    if isinstance(action, HttpResponse):
        return action
    return onward(request, reverse("bulk", args=[Bulk.objects.get(asked=action).pk]))


def _list(request: HttpRequest) -> HttpResponse:
    seen = bulks.visible_to(user_of(request)).filter(cluster=cluster_id_of(request))
    found = list(_older(seen, request).order_by("-pk")[: PAGE_SIZE + 1])
    shown = [{"bulk": bulk, **_told(bulk)} for bulk in found[:PAGE_SIZE]]
    next_place = found[PAGE_SIZE - 1].pk if len(found) > PAGE_SIZE else None
    return render(request, "bulk/list.html", {"rows": shown, "next": next_place})


def _older(seen: QuerySet[Bulk], request: HttpRequest) -> QuerySet[Bulk]:
    before = _place(request, "before")
    return seen if before is None else seen.filter(pk__lt=before)


def _place(request: HttpRequest, name: str) -> int | None:
    """Raises BadRequest for what is no place."""
    form = Place(request.GET)
    if not form.is_valid():
        raise BadRequest
    place: int | None = form.cleaned_data[name]
    return place


@require_safe
@never_cache
def detail(request: HttpRequest, bulk_id: int) -> HttpResponse:
    bulk = get_object_or_404(bulks.visible_to(user_of(request)).select_related("action"), pk=bulk_id)
    page = _preview_of(request, bulk) if bulk.state == BulkState.DRAFT else _progress_of(request, bulk)
    return render(request, "bulk/detail.html", {"bulk": bulk, **_told(bulk), **page})


def _told(bulk: Bulk) -> dict[str, object]:
    """What every page says of a bulk."""
    word, badge = bulk_rows.STATES[bulk.state]
    return {
        "word": word,
        "badge": badge,
        "filter": bulk_rows.filter_of(bulk),
        "progress": bulk_rows.progress(bulk),
        "live": bulk_rows.is_followed(bulk, timezone.now()),
    }


def _preview_of(request: HttpRequest, bulk: Bulk) -> dict[str, object]:
    preview = Preview.read(bulk.preview)
    if scope := scope_of(request.user):
        preview = preview.within(scope)
    samples = bulk_rows.seen(user_of(request), pk__in=preview.samples)
    return {
        "states": bulk_rows.counts(preview.states),
        "tasks": bulk_rows.counts(preview.tasks),
        "queues": bulk_rows.counts(preview.queues),
        "reasons": bulk_rows.counts(preview.reasons),
        "samples": [samples[pk] for pk in preview.samples if pk in samples],
        "effects": _effects(request, bulk, preview),
        "choices": bulk_rows.choices(bulk),
        "stop_shares": bulk_rows.STOP_SHARES,
        "is_typed": bulk.eligible > TYPED_ABOVE,
    }


def _effects(request: HttpRequest, bulk: Bulk, preview: Preview) -> list[bulk_rows.Effect]:
    if bulk.deed != Deed.RETRY or bulk.frozen_at is None:
        return []
    scope, now = scope_of_visitor(request), timezone.now()
    frame = live.overview(bulk.cluster.pk, scope, now, memory, most_queues=None)
    return bulk_rows.effects(preview, frame["queues"])


def _progress_of(request: HttpRequest, bulk: Bulk) -> dict[str, object]:
    tabs = bulk_rows.tabs(bulk)
    asked = request.GET.get("show")
    tab = asked if asked in bulk_rows.TABS else (tabs[0].name if tabs else "waiting")
    after = _place(request, "after") or 0
    return {
        "tabs": tabs,
        "tab": tab,
        "rows": bulk_rows.rows(bulk, tab, after, user_of(request)),
        "unpublished": bulk_rows.unpublished(bulk),
    }


@require_POST
def start(request: HttpRequest, bulk_id: int) -> HttpResponse:
    terms = Terms(request.POST)
    if not terms.is_valid():
        why = _("Pace, share and number of jobs are plain numbers: 1000, not 1,000.")
        return refused(request, "form", why, _address(bulk_id))
    told = {name: value for name, value in terms.cleaned_data.items() if value is not None}
    action = attempt(request, BulkStart(bulk_id, **told), _address(bulk_id))
    return action if isinstance(action, HttpResponse) else onward(request, _address(bulk_id))


@require_POST
def pause(request: HttpRequest, bulk_id: int) -> HttpResponse:
    return act(request, BulkPause(bulk_id), _address(bulk_id), str(gettext_lazy("Paused.")))


@require_POST
def resume(request: HttpRequest, bulk_id: int) -> HttpResponse:
    return act(request, BulkResume(bulk_id), _address(bulk_id), str(gettext_lazy("It goes on.")))


@require_POST
def abort(request: HttpRequest, bulk_id: int) -> HttpResponse:
    return act(request, BulkAbort(bulk_id), _address(bulk_id), str(gettext_lazy("Ended.")))


def _address(bulk_id: int) -> str:
    return reverse("bulk", args=[bulk_id])
