"""Closed by default, open without a look at the database where a view says so; no forms of other sites;
times in the visitor's zone."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC
from typing import Any

from django.contrib.auth.middleware import LoginRequiredMiddleware
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponseBase
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.defaults import permission_denied

from dashboard import zones
from dashboard.origin import is_allowed
from dashboard.views.account import write_down_foreign_form
from jobs import access

SAFE = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})


class SignInRequired(LoginRequiredMiddleware):
    """Django's own reads the session first, so that /healthz would need the database."""

    def process_view(
        self,
        request: HttpRequest,
        view_func: Callable[..., HttpResponseBase],
        view_args: tuple[Any, ...],
        view_kwargs: dict[str, Any],
    ) -> HttpResponseBase | None:
        if not getattr(view_func, "login_required", True):
            return None
        answer = super().process_view(request, view_func, view_args, view_kwargs)
        if (
            answer is None
            and not _has_rights_of_its_own(request)
            and not access.has(request.user, "view_record")
        ):
            raise PermissionDenied(_("Your account is in no team yet, so it is shown nothing."))
        return answer


class OwnPagesOnly:
    """A form of another site is refused, and written down, before anything looks at it.

    Browsers say where a request comes from; those that don't are held by the CSRF token alone.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if request.method in SAFE or not _is_foreign(request):
            return self.get_response(request)
        write_down_foreign_form(request, _("A page of another site sent it."))
        return permission_denied(
            request, PermissionDenied(_("A page of another site sent this; nothing was done."))
        )


class TheirZone:
    """The visitor's zone is the active one while their request is answered; Django's admin names none, so it
    stays in UTC."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        in_admin = request.path.startswith(reverse("admin:index"))
        with timezone.override(UTC if in_admin else zones.zone_of(request)):
            return self.get_response(request)


def _is_foreign(request: HttpRequest) -> bool:
    site, origin = request.headers.get("Sec-Fetch-Site"), request.headers.get("Origin")
    if site not in ("cross-site", "same-site"):
        return False
    return not is_allowed(origin, request.get_host(), request.scheme or "http")


def _has_rights_of_its_own(request: HttpRequest) -> bool:
    """The admin asks for the rights of each of its pages."""
    return request.resolver_match is not None and "admin" in request.resolver_match.app_names
