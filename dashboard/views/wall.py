"""The wall: how things stand, to be read from across the room."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from dashboard import alert_rows
from dashboard.alert_rows import Asked
from dashboard.context import memory
from dashboard.visitors import cluster_id_of, scope_of_visitor, user_of
from jobs import live

# As many as stand beside each other on a screen.
MOST = 8


@require_safe
@never_cache
def index(request: HttpRequest) -> HttpResponse:
    """The figures of the overview, and what fires."""
    cluster_id, scope, now = cluster_id_of(request), scope_of_visitor(request), timezone.now()
    standing = alert_rows.read_open(Asked(), cluster_id, user_of(request), now)
    frame = live.overview(cluster_id, scope, now, memory)
    context = {
        "frame": frame,
        "counts": frame["alerts"] | {"monitor": frame["record"]["monitor"]},
        "rows": standing.firing[:MOST],
        "more": max(0, len(standing.firing) + standing.left_out - MOST),
    }
    return render(request, "alerts/wall.html", context)
