"""Acting on one error: resolve, ignore, reopen, assign, note."""

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

from dashboard import error_rows
from dashboard.acting import act, asking
from dashboard.how_long import A_WEEK, A_WHILE, UNTIL, HowLong
from dashboard.views.errors import error_of
from dashboard.visitors import user_of
from jobs.errors import reading
from jobs.values import storable
from workers.commands.errors import LONGEST_NOTE, MOST_TIMES, Assign, Ignore, Note, Reopen, Resolve

LONGEST_NAME = 150


class IgnoreForm(HowLong):
    """Until when, or until how many jobs more, it does not count."""

    lasts = forms.ChoiceField(
        label=gettext_lazy("How long"),
        choices=(*A_WHILE, A_WEEK, ("", gettext_lazy("For good")), UNTIL),
        initial="86400",
        required=False,
    )
    times = forms.IntegerField(
        label=gettext_lazy("Or until more than so many jobs have failed with it"),
        min_value=0,
        max_value=MOST_TIMES,
        required=False,
        widget=forms.NumberInput(attrs={"class": "input"}),
        help_text=gettext_lazy("It comes back at whichever is first."),
    )

    def terms(self) -> dict[str, Any]:
        """What the command is to know."""
        return {**self.end(), "times": self.cleaned_data["times"]}


@require_POST
def resolve(request: HttpRequest, error_id: int) -> HttpResponse:
    said = _("Resolved. If it fails again, it comes back as regressed.")
    return act(request, Resolve(error_id), _address(error_id), said)


@asking
def ignore(request: HttpRequest, error_id: int) -> HttpResponse:
    form = IgnoreForm(request.POST if request.method == "POST" else None)
    if not form.is_valid():
        [listed] = reading.listed([error_of(request, error_id)], user_of(request), timezone.now())
        context = {"row": error_rows.row(listed), "error": listed.error, "form": form}
        return render(request, "errors/ignore.html", context, status=400 if form.errors else 200)
    return act(request, Ignore(error_id, **form.terms()), _address(error_id), _("Ignored."))


@require_POST
def reopen(request: HttpRequest, error_id: int) -> HttpResponse:
    return act(request, Reopen(error_id), _address(error_id), _("It is open again."))


@require_POST
def assign(request: HttpRequest, error_id: int) -> HttpResponse:
    who = storable(request.POST.get("who", "").strip())[:LONGEST_NAME]
    said = _("Assigned to %(who)s.") % {"who": who} if who else _("Nobody is on it.")
    return act(request, Assign(error_id, who), _address(error_id), said)


@require_POST
def note(request: HttpRequest, error_id: int) -> HttpResponse:
    text = storable(request.POST.get("text", "").replace("\r\n", "\n"))[: LONGEST_NOTE + 1]
    return act(request, Note(error_id, text), _address(error_id), _("Noted."))


def _address(error_id: int) -> str:
    return reverse("error", args=[error_id])
