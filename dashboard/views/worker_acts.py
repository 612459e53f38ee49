"""Giving orders to one worker: the forms of its page, and for what ends something a page that asks."""

from __future__ import annotations

from typing import Any

from django import forms
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_POST

from dashboard.acting import View, act, asking
from dashboard.addresses import worker_address
from dashboard.views.workers import found_by_number, page
from dashboard.visitors import cluster_id_of
from jobs.models import Worker
from workers.commands import workers as commands
from workers.commands.workers import MOST_SLOTS, ToAWorker


class SlotsForm(forms.Form):
    by = forms.IntegerField(label=gettext_lazy("Slots"), min_value=1, max_value=MOST_SLOTS)


class RangeForm(forms.Form):
    least = forms.IntegerField(label=gettext_lazy("Least"), min_value=0, max_value=MOST_SLOTS)
    most = forms.IntegerField(label=gettext_lazy("Most"), min_value=1, max_value=MOST_SLOTS)


class QueueForm(forms.Form):
    queue = forms.CharField(label=gettext_lazy("Queue"), max_length=255, strip=False)


class RateForm(forms.Form):
    task = forms.CharField(label=gettext_lazy("Task"), max_length=255)
    rate = forms.CharField(label=gettext_lazy("Rate"), max_length=20)


class LimitsForm(forms.Form):
    task = forms.CharField(label=gettext_lazy("Task"), max_length=255)
    soft = forms.FloatField(label=gettext_lazy("Soft limit"), required=False, min_value=0)
    hard = forms.FloatField(label=gettext_lazy("Hard limit"), required=False, min_value=0)


class EventsForm(forms.Form):
    on = forms.ChoiceField(choices=[("1", gettext_lazy("On")), ("0", gettext_lazy("Off"))])

    def clean_on(self) -> bool:
        return bool(self.cleaned_data["on"] == "1")


def _give(
    request: HttpRequest, worker_id: int, order: type[ToAWorker], form: type[forms.Form] | None = None
) -> HttpResponse:
    """Give an order whose fields are those of the form; the page again where that has faults."""
    found = found_by_number(request, worker_id)
    fields: dict[str, Any] = {}
    if form is not None:
        filled = form(request.POST)
        if not filled.is_valid():
            return page(request, found, form=filled)
        fields = filled.cleaned_data
    command = order(found.name, cluster_id=cluster_id_of(request), **fields)
    return act(request, command, worker_address(found), _said(found))


def _said(found: Worker) -> str:
    return _("Asked, not yet confirmed by %(worker)s.") % {"worker": found.name}


def _order(order: type[ToAWorker], form: type[forms.Form] | None = None) -> View:
    @require_POST
    def view(request: HttpRequest, worker_id: int) -> HttpResponse:
        return _give(request, worker_id, order, form)

    return view


def _final_order(order: type[ToAWorker], template: str) -> View:
    """One that ends something: it has a page that asks first."""

    @asking
    def view(request: HttpRequest, worker_id: int) -> HttpResponse:
        if request.method != "POST":
            return page(request, found_by_number(request, worker_id), template)
        return _give(request, worker_id, order)

    return view


shutdown = _final_order(commands.Shutdown, "workers/shutdown.html")
restart_pool = _final_order(commands.RestartPool, "workers/restart_pool.html")
grow = _order(commands.Grow, SlotsForm)
shrink = _order(commands.Shrink, SlotsForm)
autoscale = _order(commands.Autoscale, RangeForm)
add_consumer = _order(commands.AddConsumer, QueueForm)
cancel_consumer = _order(commands.CancelConsumer, QueueForm)
rate_limit = _order(commands.RateLimit, RateForm)
time_limits = _order(commands.TimeLimits, LimitsForm)
events = _order(commands.Events, EventsForm)
