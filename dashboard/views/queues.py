"""Queues: all of them, worst first, and one."""

from __future__ import annotations

from functools import partial

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from dashboard import moments
from dashboard.context import memory
from dashboard.visitors import cluster_id_of, scope_of_visitor
from jobs import queue_frame, scopes
from jobs.past import Then
from jobs.past_frame import queue_then, queues_then
from jobs.queue_frame import Frame
from jobs.queue_now import NEXT_SHOWN, next_in_line
from workers.commands.queues import is_known


@require_safe
@never_cache
def index(request: HttpRequest) -> HttpResponse:
    if moments.asked(request):
        return moments.page(request, "past/queues.html", queues_then)
    frame = queue_frame.queues(cluster_id_of(request), scope_of_visitor(request), timezone.now(), memory)
    return render(request, "queues/list.html", {"frame": frame, "record": frame["record"]})


@require_safe
@never_cache
def detail(request: HttpRequest, name: str) -> HttpResponse:
    if moments.asked(request):
        found = partial(_found_then, name)
        return moments.page(request, "past/queue.html", found, counted=True)
    return render(request, "queues/detail.html", shown(request, name))


@require_safe
@never_cache
def peek(request: HttpRequest, name: str) -> HttpResponse:
    """The jobs that wait longest, by the record; a broker tells only by handing them out."""
    scope = scopes.named(scope_of_visitor(request))
    cluster_id = cluster_id_of(request)
    if not is_known(name, cluster_id, scope):
        raise Http404("no such queue")
    frame = {"name": name, "next": next_in_line(cluster_id, name, scope), "shown": NEXT_SHOWN}
    return render(request, "queues/peek.html", {"frame": frame})


def shown(request: HttpRequest, name: str) -> Frame:
    """What each page about a queue shows. Raises Http404."""
    frame = _frame_of(request, name)
    return {"frame": frame, "record": frame["record"]}


def _frame_of(request: HttpRequest, name: str) -> Frame:
    """The queue, if the visitor may see it. Raises Http404."""
    scope = scope_of_visitor(request)
    return _found(queue_frame.queue(name, cluster_id_of(request), scope, timezone.now(), memory))


def _found_then(name: str, then: Then) -> Frame:
    """Raises Http404."""
    return _found(queue_then(name, then))


def _found(frame: Frame | None) -> Frame:
    """Raises Http404."""
    if frame is None:
        raise Http404("no such queue")
    return frame
