"""The address of the websocket, as HTTP sees it."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe


@require_safe
def index(request: HttpRequest) -> HttpResponse:
    return HttpResponse(
        "This address speaks websocket.\n", "text/plain", 426, headers={"Upgrade": "websocket"}
    )
