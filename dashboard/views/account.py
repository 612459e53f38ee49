"""Signing in and out."""

from __future__ import annotations

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.views import LoginView, LogoutView, redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.views.decorators.http import require_safe

sign_in = LoginView.as_view(
    template_name="account/sign_in.html",
    redirect_authenticated_user=True,
    extra_context={"site_name": settings.SITE_NAME},  # else Django puts the host in its place
)
# Whose session has ended meanwhile is signed out already, and not sent round by sign-in.
sign_out = login_not_required(LogoutView.as_view())


@login_not_required
@require_safe
def admin_sign_in(request: HttpRequest) -> HttpResponse:
    """The admin has no sign-in of its own; who is signed in and still sent here may not enter."""
    if request.user.is_authenticated:
        raise PermissionDenied
    return redirect_to_login(request.GET.get("next") or reverse("admin:index"))
