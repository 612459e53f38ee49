"""Find: what the palette shows while somebody types, and the same as a page."""

from __future__ import annotations

from django import forms
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from django.views.decorators.vary import vary_on_headers

from dashboard.finder import Asker, Found, find
from dashboard.inert import inert
from dashboard.visitors import cluster_id_of, scope_of_visitor, user_of
from jobs import scopes


class Question(forms.Form):
    """What somebody has typed."""

    q = forms.CharField(max_length=255, required=False)


@require_safe
@never_cache
@vary_on_headers("Accept")
def index(request: HttpRequest) -> HttpResponse:
    question = Question(request.GET)
    well_asked = question.is_valid()
    text = question.cleaned_data.get("q", "")
    found = find(text, _asker(request), timezone.now()) if well_asked else []
    status = 200 if well_asked else 400
    if request.get_preferred_type(["text/html", "application/json"]) == "application/json":
        return JsonResponse({"found": [_told(one) for one in found]}, status=status)
    context = {"found": found, "text": text, "faults": question.errors.get("q", [])}
    return render(request, "find.html", context, status=status)


def _asker(request: HttpRequest) -> Asker:
    return Asker(user_of(request), scopes.named(scope_of_visitor(request)), cluster_id_of(request))


def _told(one: Found) -> dict[str, str]:
    return {"kind": str(one.kind), "name": inert(one.name), "address": one.address}
