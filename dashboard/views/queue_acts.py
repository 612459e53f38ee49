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
from dashboard.views.queues import frame_of
from dashboard.visitors import cluster_id_of
from workers.commands.queues import PauseQueue, PurgeQueue, ResumeQueue

MINUTE, HOUR, DAY = 60, 3600, 86_400


class PauseForm(forms.Form):
    """How long a pause is to last: some time from now, or up to a moment, or until somebody resumes."""

    LASTS = (
        ("", gettext_lazy("Until somebody resumes it")),
        (str(15 * MINUTE), gettext_lazy("15 minutes")),
        (str(HOUR), gettext_lazy("1 hour")),
        (str(4 * HOUR), gettext_lazy("4 hours")),
        (str(DAY), gettext_lazy("1 day")),
        ("until", gettext_lazy("Until the moment below")),
    )
    lasts = forms.ChoiceField(label=gettext_lazy("How long"), choices=LASTS, required=False)
    until = forms.DateTimeField(
        label=gettext_lazy("Resumes by itself at (UTC)"),
        required=False,
        widget=forms.DateTimeInput(
            attrs={"class": "input", "type": "datetime-local"}, format="%Y-%m-%dT%H:%M"
        ),
        input_formats=["%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"],
    )

    def clean(self) -> dict[str, object]:
        cleaned: dict[str, object] = super().clean() or {}
        if cleaned.get("lasts") == "until" and not cleaned.get("until") and "until" not in self.errors:
            self.add_error("until", _("Say until when."))
        return cleaned

    def end(self) -> dict[str, Any]:
        """What the command is to know of it."""
        lasts = self.cleaned_data["lasts"]
        if lasts == "until":
            return {"until": self.cleaned_data["until"]}
        return {"lasts": float(lasts)} if lasts else {}


@asking
def pause(request: HttpRequest, name: str) -> HttpResponse:
    form = PauseForm(request.POST if request.method == "POST" else None)
    if not form.is_valid():
        context = {"frame": frame_of(request, name), "form": form}
        return render(request, "queues/pause.html", context, status=400 if form.errors else 200)
    command = PauseQueue(name, cluster_id=cluster_id_of(request), **form.end())
    said = _("Asked: workers are told to stop reading it.")
    return act(request, command, reverse("queue", args=[name]), said)


@asking
def resume(request: HttpRequest, name: str) -> HttpResponse:
    if request.method != "POST":
        return render(request, "queues/resume.html", {"frame": frame_of(request, name)})
    command = ResumeQueue(name, cluster_id=cluster_id_of(request))
    said = _("Asked: workers are told to read it again.")
    return act(request, command, reverse("queue", args=[name]), said)


@asking
def purge(request: HttpRequest, name: str) -> HttpResponse:
    if request.method != "POST":
        return render(request, "queues/purge.html", {"frame": frame_of(request, name)})
    command = PurgeQueue(name, request.POST.get("confirm", "")[:255], cluster_id=cluster_id_of(request))
    said = _("Asked, not yet confirmed: how many messages were deleted stands in the audit, once they are.")
    return act(request, command, reverse("queue", args=[name]), said)
