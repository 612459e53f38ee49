"""Queues: all of them, worst first, and one."""

from __future__ import annotations

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from dashboard.context import memory
from dashboard.visitors import cluster_id_of, scope_of_visitor
from jobs import queue_frame
from jobs.queue_frame import Frame


@require_safe
@never_cache
def index(request: HttpRequest) -> HttpResponse:
    frame = queue_frame.queues(cluster_id_of(request), scope_of_visitor(request), timezone.now(), memory)
    return render(request, "queues/list.html", {"frame": frame, "record": frame["record"]})


@require_safe
@never_cache
def detail(request: HttpRequest, name: str) -> HttpResponse:
    return render(request, "queues/detail.html", shown(request, name))


def shown(request: HttpRequest, name: str) -> Frame:
    """What each page about a queue shows. Raises Http404."""
    frame = _frame_of(request, name)
    return {"frame": frame, "record": frame["record"]}


def _frame_of(request: HttpRequest, name: str) -> Frame:
    """The queue, if the visitor may see it. Raises Http404."""
    scope = scope_of_visitor(request)
    frame = queue_frame.queue(name, cluster_id_of(request), scope, timezone.now(), memory)
    if frame is None:
        raise Http404("no such queue")
    return frame
