"""Schedules: what Beat sends, and when."""

from __future__ import annotations

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from dashboard.schedule_rows import read_beat, read_schedules
from dashboard.visitors import scope_of_visitor, user_of
from jobs import access, scopes


@require_safe
@never_cache
def index(request: HttpRequest) -> HttpResponse:
    scope, now = scopes.named(scope_of_visitor(request)), timezone.now()
    context = {
        "schedules": read_schedules(now, scope),
        "beat": read_beat(now),
        "may_edit": _may_edit(request),
        "read_only": settings.READ_ONLY,
    }
    return render(request, "schedules/list.html", context)


def _may_edit(request: HttpRequest) -> bool:
    """Whether the visitor may edit schedules in the admin, were it not for the whole installation."""
    user = user_of(request)
    return user.is_staff and access.has(user, "edit_schedule") and access.has(user, "view_payload")
