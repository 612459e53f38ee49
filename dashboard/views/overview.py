"""The overview."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from dashboard import incident, moments
from dashboard.context import memory
from dashboard.visitors import cluster_id_of, scope_of_visitor, user_of
from jobs import live
from jobs.past_frame import overview_then


@require_safe
@never_cache
def index(request: HttpRequest) -> HttpResponse:
    """How things stand now; what people did is told to those who may read the audit, so not by frames."""
    if moments.asked(request):
        return moments.page(request, "past/overview.html", overview_then, counted=True)
    now = timezone.now()
    frame = live.overview(cluster_id_of(request), scope_of_visitor(request), now, memory)
    told = incident.story(frame, user_of(request), now)
    context = {
        "frame": frame,
        "record": frame["record"],
        "side": frame,
        "alerting": frame["alerts"],
        "story": told,
        "summary": incident.summary(frame, told, request.build_absolute_uri(request.path)),
    }
    return render(request, "overview.html", context)
