"""Before and after each view of the API: its token, its allowance, the size and kind of what it is sent."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.urls import URLPattern, URLResolver
from django.utils import timezone
from ninja.security import HttpBearer

from dashboard.api.problems import Problem, missing, of_fault, unauthorized
from jobs.allowance import MINUTE, Allowance, Grant
from jobs.models import Bearer
from jobs.tokens import bearer_of

LARGEST_BODY = 1_000_000
LONGEST_SECRET = 200

View = Callable[..., HttpResponse]
allowance = Allowance(settings.API_REQUESTS_PER_MINUTE)


class Token(HttpBearer):
    """`Authorization: Bearer <token>`, and no cookie, so that no page of another site can ask."""

    def __call__(self, request: HttpRequest) -> Bearer:
        bearer: Bearer | None = super().__call__(request)
        if bearer is None:
            raise unauthorized()
        return bearer

    def authenticate(self, request: HttpRequest, token: str) -> Bearer:
        now = timezone.now()
        bearer = bearer_of(token, now) if len(token) <= LONGEST_SECRET else None
        if bearer is None:
            raise unauthorized()
        grant = allowance.spend(bearer.token.pk, now.timestamp())
        request.grant = grant  # type: ignore[attr-defined]
        if not grant.allowed:
            raise Problem(
                429, "rate", f"More than {grant.limit} requests a minute.", retry_after=grant.anew_in
            )
        request.user = bearer
        return bearer


def guarded(view: View) -> View:
    """`view` for programs: open without a session, and each answer in the API's form."""

    @wraps(view)
    def through(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        method, request.method = request.method, "GET" if request.method == "HEAD" else request.method
        response = _answered(view, request, *args, **kwargs)
        _add_headers(request, response)
        if method == "HEAD":
            response.content = b""
        return response

    through.login_required = False  # type: ignore[attr-defined]
    through.csrf_exempt = True  # type: ignore[attr-defined]
    return through


def _answered(view: View, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
    try:
        _refuse_impossible_names(request)
        _refuse_what_is_too_large(request)
        _refuse_other_kinds(request)
        response = view(request, *args, **kwargs)
    except Problem as problem:
        return problem.response()
    except Http404:
        return missing("There is no such address; see openapi.json.").response()
    except Exception as fault:  # noqa: BLE001 - the outermost place of a program's request
        return of_fault(fault).response()
    return _not_allowed(response) if isinstance(response, HttpResponseNotAllowed) else response


def _refuse_impossible_names(request: HttpRequest) -> None:
    """No database keeps a NUL in a text, so nothing has such a name."""
    if "\x00" in request.path:
        raise missing("There is no such thing.")


def _refuse_what_is_too_large(request: HttpRequest) -> None:
    if "Transfer-Encoding" in request.headers and not request.META.get("CONTENT_LENGTH"):
        raise Problem(411, "length", "Send the length of the body: Content-Length.")
    try:
        length = int(request.META.get("CONTENT_LENGTH") or 0)
    except ValueError:
        raise Problem(400, "unreadable", "Content-Length is not a number.") from None
    if length > LARGEST_BODY:
        raise Problem(413, "large", f"The body is larger than {LARGEST_BODY} bytes.")


def _refuse_other_kinds(request: HttpRequest) -> None:
    carries = request.META.get("CONTENT_LENGTH") not in (None, "", "0")
    if carries and request.method == "POST" and request.content_type != "application/json":
        raise Problem(415, "kind", "Send the body as application/json.")


def _not_allowed(response: HttpResponse) -> HttpResponse:
    told = Problem(405, "method", "This address has other methods: see Allow.").response()
    told["Allow"] = response["Allow"]
    return told


def _add_headers(request: HttpRequest, response: HttpResponse) -> None:
    response["Cache-Control"] = "no-store"
    grant: Grant | None = getattr(request, "grant", None)
    if grant is None:
        return
    response["RateLimit-Policy"] = f'"minute";q={grant.limit};w={MINUTE}'
    response["RateLimit"] = f'"minute";r={grant.left};t={grant.anew_in}'
    if not grant.allowed:
        response["Retry-After"] = str(grant.anew_in)


def nowhere(request: HttpRequest, path: str) -> HttpResponse:
    """Any address that the API does not have."""
    raise missing("There is no such address; see openapi.json.")


def guard(patterns: list[URLPattern | URLResolver]) -> list[URLPattern | URLResolver]:
    """The same addresses, each behind the door."""
    for pattern in patterns:
        assert isinstance(pattern, URLPattern)
        pattern.callback = guarded(pattern.callback)
    return patterns
