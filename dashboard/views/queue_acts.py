"""Acting on one queue: for each deed a page that asks, and a POST that does it."""

from __future__ import annotations

from typing import Any

from django import forms
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from dashboard.acting import act, asking
from dashboard.how_long import A_WHILE, UNTIL, HowLong
from dashboard.views.queues import shown
from dashboard.visitors import cluster_id_of
from dashboard.zones import titled
from workers.commands.queues import PauseQueue, PurgeQueue, ResumeQueue


class PauseForm(HowLong):
    """How long a pause is to last; without an end until somebody resumes."""

    lasts = forms.ChoiceField(
        label=gettext_lazy("How long"),
        choices=(("", gettext_lazy("Until somebody resumes it")), *A_WHILE, UNTIL),
        required=False,
    )

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.fields["until"].label = titled(_("Resumes by itself at"))


@asking
def pause(request: HttpRequest, name: str) -> HttpResponse:
    form = PauseForm(request.POST if request.method == "POST" else None)
    if not form.is_valid():
        context = {**shown(request, name), "form": form}
        return render(request, "queues/pause.html", context, status=400 if form.errors else 200)
    command = PauseQueue(name, cluster_id=cluster_id_of(request), **form.end())
    said = _("Asked: workers are told to stop reading it.")
    return act(request, command, reverse("queue", args=[name]), said)


@asking
def resume(request: HttpRequest, name: str) -> HttpResponse:
    if request.method != "POST":
        return render(request, "queues/resume.html", shown(request, name))
    command = ResumeQueue(name, cluster_id=cluster_id_of(request))
    said = _("Asked: workers are told to read it again.")
    return act(request, command, reverse("queue", args=[name]), said)


@asking
def purge(request: HttpRequest, name: str) -> HttpResponse:
    if request.method != "POST":
        return render(request, "queues/purge.html", shown(request, name))
    command = PurgeQueue(name, request.POST.get("confirm", "")[:255], cluster_id=cluster_id_of(request))
    said = _("Asked, not yet confirmed: how many messages were deleted stands in the audit, once they are.")
    return act(request, command, reverse("queue", args=[name]), said)
