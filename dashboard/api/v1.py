"""The addresses of `/api/v1`, and what it says of itself: its OpenAPI document."""

from __future__ import annotations

from typing import Any

import orjson
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, URLResolver, path, re_path
from ninja import NinjaAPI
from ninja.operation import Operation
from ninja.parser import Parser
from ninja.renderers import BaseRenderer

from dashboard.api import alerting, dead, errors, problems, reading, telling
from dashboard.api.document import document_of
from dashboard.api.door import Token, guard, nowhere
from dashboard.api.writing import router_of_commands

NAMESPACE = "api"


class Renderer(BaseRenderer):
    """JSON with times to the microsecond."""

    media_type = "application/json"

    def render(self, request: HttpRequest, data: Any, *, response_status: int) -> bytes:
        return orjson.dumps(data, option=orjson.OPT_UTC_Z)


class StrictParser(Parser):
    """JSON as it is defined: without NaN, and not nested without end."""

    def parse_body(self, request: HttpRequest) -> Any:
        return orjson.loads(request.body)


class Api(NinjaAPI):
    """Operations are called as their functions are."""

    def get_openapi_operation_id(self, operation: Operation) -> str:
        return operation.view_func.__name__


api = Api(
    title="Nightdesk",
    version="v1",
    description="The record of all jobs, and the commands that people have. Times are RFC 3339 in UTC,"
    " durations seconds; null is “not known”.",
    auth=Token(),
    openapi_url=None,
    docs_url=None,
    urls_namespace=NAMESPACE,
    renderer=Renderer(),
    parser=StrictParser(),
)
problems.told_by(api)
for router in (
    reading.router,
    dead.router,
    errors.router,
    telling.router,
    alerting.router,
    router_of_commands(),
):
    api.add_router("", router)


def openapi(request: HttpRequest) -> HttpResponse:
    """The OpenAPI document, to whoever is signed in or has a token."""
    if not request.user.is_authenticated:
        Token()(request)
    return HttpResponse(orjson.dumps(document_of(api), option=orjson.OPT_NON_STR_KEYS), "application/json")


patterns: list[URLPattern | URLResolver] = guard(
    [path("openapi.json", openapi, name="openapi"), *api.urls[0], re_path(r"^(?P<path>[\s\S]*)$", nowhere)]
)
addresses = (patterns, NAMESPACE)
