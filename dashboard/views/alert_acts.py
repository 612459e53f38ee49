"""Acting on one alert: acknowledge, silence, note."""

from __future__ import annotations

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
from dashboard.how_long import A_WEEK, A_WHILE, HOUR, UNTIL, HowLong
from dashboard.views.alerts import alert_of
from jobs.values import storable
from workers.commands.alerts import LONGEST_NOTE, Acknowledge, Note, Silence, Unsilence


class SilenceForm(HowLong):
    """For how long nobody is told."""

    lasts = forms.ChoiceField(
        label=gettext_lazy("How long"), choices=(*A_WHILE, A_WEEK, UNTIL), initial=str(HOUR)
    )


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
