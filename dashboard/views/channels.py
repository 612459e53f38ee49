"""Channels: where people are told of alerts, how the last deliveries went, and a button to try one out."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from dashboard.acting import act
from dashboard.visitors import hindrance, scope_of_visitor, user_of
from jobs import access
from jobs.alerts.notices import TEST, waiting
from jobs.models import Channel, Heartbeat, Notice
from jobs.trust import detail_of
from workers.commands.channels import TestChannel

SHOWN = 20
# Two missed answers are more than a slow network.
LATE_PINGS = 2.5
# In seconds: while somebody waits for what a test comes to, the page is shown anew.
REFRESH, WATCHED_FOR = "2", timedelta(seconds=60)


@require_safe
@never_cache
def index(request: HttpRequest) -> HttpResponse:
    """All channels, and the last messages; for who may edit rules."""
    _admit(request)
    latest, now = _latest(), timezone.now()
    context = {
        "channels": list(Channel.objects.select_related("team")),
        "latest": latest,
        "waiting": waiting().exclude(event=TEST).count(),
        "deadman": _deadman(now),
        "hindrance": hindrance(request, TestChannel, None, None),
    }
    response = render(request, "channels/list.html", context)
    if any(_is_being_tried(notice, now) for notice in latest):
        response.headers["Refresh"] = REFRESH
    return response


@require_POST
@never_cache
def test(request: HttpRequest, channel_id: int) -> HttpResponse:
    """Try one out."""
    said = _("A message is on its way. This page will say whether it was taken.")
    return act(request, TestChannel(channel_id), reverse("alert-channels"), said)


def _admit(request: HttpRequest) -> None:
    scope_of_visitor(request)
    user = user_of(request)
    if not access.has(user, "edit_rule") or access.spans_of(user) is not None:
        raise PermissionDenied(_("Channels are for those who may edit the rules of all alerts."))


def _latest() -> list[Notice]:
    return list(Notice.objects.select_related("channel", "alert__rule").order_by("-pk")[:SHOWN])


def _is_being_tried(notice: Notice, now: datetime) -> bool:
    over = notice.delivered_at or notice.given_up_at
    return notice.event == TEST and not over and now - notice.at < WATCHED_FOR


def _deadman(now: datetime) -> dict[str, object] | None:
    """How the last sign of life went; None if none was ever given."""
    heartbeat = Heartbeat.objects.filter(name="deadman").first()
    if heartbeat is None:
        return None
    detail = detail_of(heartbeat)
    late = now - heartbeat.at > timedelta(seconds=LATE_PINGS * float(detail.get("every", 60.0)))
    return {"at": heartbeat.at, "ok": bool(detail.get("ok")) and not late}
