"""Signing in and out."""

from __future__ import annotations

import math
from typing import Any, cast

from django.conf import settings
from django.contrib import admin
from django.contrib.auth import get_user_model
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.forms import AuthenticationForm
from django.contrib.auth.views import LoginView, LogoutView, redirect_to_login
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.csrf import csrf_failure
from django.views.decorators.http import require_safe

from dashboard import throttle
from dashboard.visitors import address_of, user_of
from jobs.audit import Deed, write_down

NO_ACCOUNT = "?"
LONGEST_NAME = 150


class SignIn(LoginView):
    """Django's own, with an end to trying and a line in the audit for each try."""

    template_name = "account/sign_in.html"
    redirect_authenticated_user = True
    extra_context = {"site_name": settings.SITE_NAME}  # else Django puts the host in its place

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        name, address = self._name(), address_of(request)
        above = throttle.count_try(name, address, timezone.now())
        if above is None:
            return super().post(request, *args, **kwargs)
        number, wait = above
        if number == 1:  # those after it say nothing new
            self._write_down("throttled", _("Too many tries."))
        return self._throttled(wait)

    def form_valid(self, form: AuthenticationForm) -> HttpResponse:
        response = super().form_valid(form)
        throttle.forgive(self._name(), address_of(self.request))
        user = form.get_user()
        write_down(
            Deed(
                "account.sign-in",
                "account",
                user.get_username(),
                "page",
                user,
                address=address_of(self.request),
            )
        )
        return response

    def form_invalid(self, form: AuthenticationForm) -> HttpResponse:
        self._write_down("credentials", _("User and password did not match, or the account is closed."))
        return super().form_invalid(form)

    def _throttled(self, wait: float) -> HttpResponse:
        form = AuthenticationForm(self.request, initial={"username": ""})
        minutes = max(1, math.ceil(wait / 60))
        response = self.render_to_response(self.get_context_data(form=form, minutes=minutes), status=429)
        response["Retry-After"] = str(max(1, math.ceil(wait)))
        return response

    def _write_down(self, code: str, detail: str) -> None:
        """What stands in the field may be a password, so that only names of accounts are kept."""
        name = self._name()
        known = get_user_model().objects.filter(username=name).exists()
        shown = name if known else NO_ACCOUNT
        address = address_of(self.request)
        write_down(
            Deed(
                "account.sign-in",
                "account",
                shown,
                "page",
                who=shown,
                address=address,
                refusal=code,
                detail=detail,
            )
        )

    def _name(self) -> str:
        return self.request.POST.get("username", "").replace("\0", "")[:LONGEST_NAME]


class SignOut(LogoutView):
    """Django's own, with a line in the audit for who was signed in."""

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if request.user.is_authenticated:
            user = user_of(request)
            name, address = user.get_username(), address_of(request)
            write_down(Deed("account.sign-out", "account", name, "page", user, address=address))
        return super().post(request, *args, **kwargs)


sign_in = SignIn.as_view()
# Whose session has ended meanwhile is signed out already, and not sent round by sign-in.
sign_out = login_not_required(SignOut.as_view())


@login_not_required
@require_safe
def admin_sign_in(request: HttpRequest) -> HttpResponse:
    """The admin has no sign-in of its own; who is signed in and still sent here may not enter."""
    if request.user.is_authenticated:
        raise PermissionDenied(_("The admin is for staff."))
    return redirect_to_login(request.GET.get("next") or reverse("admin:index"))


@login_not_required  # the admin asks for itself who may enter
def change_password(request: HttpRequest) -> HttpResponse:
    """The admin's page for one's own password: not while read-only, and written down."""
    page = admin.site.admin_view(admin.site.password_change)
    if request.method != "POST" or not admin.site.has_permission(request):
        return cast("HttpResponse", page(request))
    if settings.READ_ONLY:
        _write_down_password(request, "read_only")
        raise PermissionDenied(_("This installation is read-only."))
    with transaction.atomic():
        answer = cast("HttpResponse", page(request))
        if answer.status_code == 302:
            _write_down_password(request)
    return answer


def _write_down_password(request: HttpRequest, refusal: str | None = None) -> None:
    user = user_of(request)
    write_down(
        Deed(
            "account.password",
            "account",
            user.get_username(),
            "admin",
            user,
            address=address_of(request),
            refusal=refusal,
        )
    )


def form_without_mark(request: HttpRequest, reason: str = "") -> HttpResponse:
    """A form that can't show that it came from this site: refused, and written down."""
    write_down_foreign_form(request, reason)
    return csrf_failure(request, reason)


def write_down_foreign_form(request: HttpRequest, reason: str) -> None:
    """An attempt to have a signed-in browser act; without a session there is nobody to name."""
    if request.user.is_authenticated:
        path, address = request.path[:255], address_of(request)
        write_down(
            Deed(
                "page.post",
                "page",
                path,
                "page",
                request.user,
                address=address,
                refusal="cross_site",
                detail=reason,
            )
        )
