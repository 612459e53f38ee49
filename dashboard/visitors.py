"""Who asks, from where, and about which cluster."""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address

from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest
from django.utils.translation import gettext as _

from jobs import access, live
from jobs.models import Cluster
from jobs.perform import Command, forbidden


def scope_of_visitor(request: HttpRequest) -> str:
    """What the visitor may see. Raises PermissionDenied for nothing."""
    scope = live.scope_of(request.user)
    if scope is None:
        raise PermissionDenied
    return scope


def user_of(request: HttpRequest) -> User:
    """The account that is signed in. Raises PermissionDenied without one."""
    if not isinstance(request.user, User):
        raise PermissionDenied
    return request.user


def address_of(request: HttpRequest) -> str | None:
    """The address of the client, as the web server tells it; None where it is no IP address.

    Behind a proxy (HTTPS=1) the server itself has put the right-most hop there that it doesn't trust.
    """
    try:
        address = ip_address(request.META.get("REMOTE_ADDR", "").partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return str(mapped or address)


def cluster_id_of(request: HttpRequest) -> int:
    """The cluster that `?cluster=` names, else the default one. Raises Http404."""
    name = request.GET.get("cluster")
    if name is None:
        return Cluster.DEFAULT_ID
    found = Cluster.objects.filter(name=name).values_list("pk", flat=True).first()
    if found is None:
        raise Http404("no such cluster")
    return found


def hindrance(
    request: HttpRequest, command: type[Command] | Command, task: str | None, queue: str | None
) -> str:
    """Why the visitor may not use `command` on what has this task and queue; "" if they may."""
    if not request.user.is_authenticated:
        return _("You are not signed in.")
    return str(forbidden(user_of(request), command, task, queue) or "")


def oversees(user: User) -> bool:
    """Whether somebody may see whatever there is: what jobs carry, what people did, and everything of it."""
    return (
        access.has(user, "view_audit") and access.has(user, "view_payload") and access.spans_of(user) is None
    )
