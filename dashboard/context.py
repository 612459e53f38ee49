"""What every page shows around its own content."""

from __future__ import annotations

import time
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.utils import timezone
from django.utils.functional import SimpleLazyObject

from dashboard import themes, zones
from dashboard.keys import groups_for
from dashboard.pages import pages_for
from dashboard.visitors import scope_of_visitor, user_of
from jobs import access, scopes, side
from jobs.alert_frame import count
from jobs.history import Memory
from jobs.models import Cluster
from jobs.overview import record

# The finished minutes that this process has read, for pages and sockets alike.
memory = Memory()


def shell(request: HttpRequest) -> dict[str, Any]:
    """Where we are, what time it is, whether the record can be trusted, and what the navigation counts."""
    known = {
        "site_name": settings.SITE_NAME,
        "environment": settings.ENVIRONMENT,
        "clock": time.time(),
        "zone": zones.current_name(),
        "theme": themes.theme_of(request),
    }
    if not getattr(request, "user", None) or not access.has(request.user, "view_record"):
        return known
    return known | {
        "record": SimpleLazyObject(lambda: record(Cluster.DEFAULT_ID, timezone.now())),
        "side": SimpleLazyObject(lambda: _side(request)),
        "alerting": SimpleLazyObject(lambda: _alerting(request)),
        "site_pages": SimpleLazyObject(lambda: pages_for(user_of(request))),
        "key_groups": lambda: groups_for(pages_for(user_of(request))),
    }


def _side(request: HttpRequest) -> dict[str, int]:
    """What is counted beside the navigation; frames tell the same (`jobs.live`)."""
    scope = scopes.scope_of(request.user)
    return {} if scope is None else side.counts(scope, timezone.now())


def _alerting(request: HttpRequest) -> dict[str, Any]:
    """How many alerts fire that the visitor may see: as in the frame, which tells of the monitor, too."""
    return count(Cluster.DEFAULT_ID, scopes.named(scope_of_visitor(request)), timezone.now())
