"""Workers: all that should be there, worst first, and one."""

from __future__ import annotations

from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from dashboard import moments
from dashboard.addresses import worker_address
from dashboard.context import memory
from dashboard.visitors import cluster_id_of, scope_of_visitor
from dashboard.worker_buttons import buttons
from jobs import worker_frame
from jobs.models import Worker
from jobs.past_frame import workers_then
from workers.commands.workers import find_worker


@require_safe
@never_cache
def index(request: HttpRequest) -> HttpResponse:
    if moments.asked(request):
        return moments.page(request, "past/workers.html", workers_then)
    frame = worker_frame.workers(cluster_id_of(request), scope_of_visitor(request), timezone.now(), memory)
    return render(request, "workers/list.html", {"frame": frame, "record": frame["record"]})


@require_safe
@never_cache
def detail(request: HttpRequest, name: str) -> HttpResponse:
    """By name: its newest incarnation."""
    scope_of_visitor(request)
    found = find_worker(name, cluster_id_of(request))
    if found is None:
        raise Http404("no such worker")
    return page(request, found)


@require_safe
@never_cache
def detail_by_number(request: HttpRequest, worker_id: int) -> HttpResponse:
    """One incarnation; the newest of a readable name has a better address."""
    found = found_by_number(request, worker_id)
    newest = find_worker(found.name, cluster_id_of(request))
    address = worker_address(found)
    if newest is not None and newest.pk == found.pk and "~" not in address:
        return redirect(address)
    return page(request, found)


def found_by_number(request: HttpRequest, worker_id: int) -> Worker:
    """Raises Http404."""
    scope_of_visitor(request)
    visible = Worker.objects.visible_to(request.user).filter(cluster=cluster_id_of(request))
    found: Worker | None = visible.filter(pk=worker_id).first() if worker_id < 2**63 else None
    if found is None:
        raise Http404("no such worker")
    return found


def page(
    request: HttpRequest, found: Worker, template: str = "workers/detail.html", **more: Any
) -> HttpResponse:
    """A page about a worker, with its frame and its buttons; 400 where its form has faults."""
    frame = worker_frame.worker(cluster_id_of(request), found, scope_of_visitor(request), timezone.now())
    context = {
        "frame": frame,
        "record": frame["record"],
        "buttons": buttons(request, found, frame["state"]),
        "worker": found,
        **more,
    }
    status = 400 if more.get("form") is not None and more["form"].errors else 200
    return render(request, template, context, status=status)
