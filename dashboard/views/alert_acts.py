"""Acting on one alert: acknowledge, silence, note."""

from __future__ import annotations

from typing import Any

from django import forms
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_POST

from dashboard.acting import act, asking
from dashboard.alert_rows import row_of
from dashboard.views.alerts import alert_of
from jobs.values import storable
from workers.commands.alerts import LONGEST_NOTE, Acknowledge, Note, Silence, Unsilence

MINUTE, HOUR, DAY = 60, 3600, 86_400


class SilenceForm(forms.Form):
    """For how long: some time from now, or until a moment."""

    LASTS = (
        (str(15 * MINUTE), gettext_lazy("15 minutes")),
        (str(HOUR), gettext_lazy("1 hour")),
        (str(4 * HOUR), gettext_lazy("4 hours")),
        (str(DAY), gettext_lazy("1 day")),
        (str(7 * DAY), gettext_lazy("7 days")),
        ("until", gettext_lazy("Until the moment below")),
    )
    lasts = forms.ChoiceField(label=gettext_lazy("How long"), choices=LASTS, initial=str(HOUR))
    until = forms.DateTimeField(
        label=gettext_lazy("Until (UTC)"),
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
        return {"until": self.cleaned_data["until"]} if lasts == "until" else {"lasts": float(lasts)}


@require_POST
def acknowledge(request: HttpRequest, alert_id: int) -> HttpResponse:
    said = _("Acknowledged: everybody sees that you are on it.")
    return act(request, Acknowledge(alert_id), _address(alert_id), said)


@asking
def silence(request: HttpRequest, alert_id: int) -> HttpResponse:
    form = SilenceForm(request.POST if request.method == "POST" else None)
    if not form.is_valid():
        row = row_of(alert_of(request, alert_id), timezone.now())
        status = 400 if form.errors else 200
        return render(request, "alerts/silence.html", {"row": row, "form": form}, status=status)
    said = _("Silenced: it tells nobody anything until then.")
    return act(request, Silence(alert_id, **form.end()), _address(alert_id), said)


@require_POST
def unsilence(request: HttpRequest, alert_id: int) -> HttpResponse:
    return act(request, Unsilence(alert_id), _address(alert_id), _("No longer silenced."))


@require_POST
def note(request: HttpRequest, alert_id: int) -> HttpResponse:
    text = storable(request.POST.get("text", "").replace("\r\n", "\n"))[: LONGEST_NOTE + 1]
    return act(request, Note(alert_id, text), _address(alert_id), _("Noted."))


def _address(alert_id: int) -> str:
    return reverse("alert", args=[alert_id])
