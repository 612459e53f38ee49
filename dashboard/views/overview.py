"""The overview."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from dashboard import moments
from dashboard.context import memory
from dashboard.visitors import cluster_id_of, scope_of_visitor
from jobs import live
from jobs.past_frame import overview_then


@require_safe
@never_cache
def index(request: HttpRequest) -> HttpResponse:
    if moments.asked(request):
        return moments.page(request, "past/overview.html", overview_then)
    frame = live.overview(cluster_id_of(request), scope_of_visitor(request), timezone.now(), memory)
    return render(request, "overview.html", {"frame": frame, "record": frame["record"], "side": frame})
