"""Who asks, and about which cluster."""

from __future__ import annotations

from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest

from jobs import live
from jobs.models import Cluster


def scope_of_visitor(request: HttpRequest) -> str:
    """What the visitor may see. Raises PermissionDenied for nothing."""
    scope = live.scope_of(request.user)
    if scope is None:
        raise PermissionDenied
    return scope


def cluster_id_of(request: HttpRequest) -> int:
    """The cluster that `?cluster=` names, else the default one. Raises Http404."""
    name = request.GET.get("cluster")
    if name is None:
        return Cluster.DEFAULT_ID
    found = Cluster.objects.filter(name=name).values_list("pk", flat=True).first()
    if found is None:
        raise Http404("no such cluster")
    return found
