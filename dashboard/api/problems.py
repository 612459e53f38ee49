"""Everything that goes wrong, told in one form: problem details (RFC 9457)."""

from __future__ import annotations

import logging
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import orjson
from django.db import DatabaseError, DataError
from django.http import Http404, HttpRequest, HttpResponse
from ninja import NinjaAPI
from ninja.errors import AuthenticationError, HttpError, ValidationError

from jobs.perform import Refused

MEDIA_TYPE = "application/problem+json"
KIND = "urn:nightdesk:problem:"
# What a refusal means to HTTP; anything else is a conflict with how things stand.
STATUSES = {"permission": 403, "reach": 403, "read_only": 403, "missing": 404, "once": 422}
MOST_ERRORS = 20

log = logging.getLogger(__name__)


class Problem(Exception):
    """An answer that is no success: `code` for programs, `detail` for people, `more` further members."""

    def __init__(self, status: int, code: str, detail: str, **more: Any) -> None:
        super().__init__(detail)
        self.status, self.code, self.detail, self.more = status, code, detail, more

    def response(self) -> HttpResponse:
        told = {
            "type": KIND + self.code,
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "code": self.code,
            "detail": self.detail,
            **self.more,
        }
        response = HttpResponse(orjson.dumps(told), status=self.status, content_type=MEDIA_TYPE)
        if self.status == HTTPStatus.UNAUTHORIZED:
            response["WWW-Authenticate"] = 'Bearer realm="nightdesk"'
        return response


def of_refusal(code: str, why: str, **more: Any) -> Problem:
    """What a refused command is to HTTP."""
    return Problem(STATUSES.get(code, 409), code, why, **more)


def missing(what: str) -> Problem:
    """There is no such thing, or it is not for this reader to know that there is."""
    return Problem(404, "missing", what)


def forbidden(permission: str) -> Problem:
    return Problem(403, "permission", f"This token lacks the permission {permission}.")


def unauthorized() -> Problem:
    return Problem(401, "token", "Send a token that is good still, as “Authorization: Bearer <token>”.")


def unreadable(error: ValidationError) -> Problem:
    """Which parts of a request are not as they should be."""
    errors = [{"where": _place(one["loc"]), "what": one["msg"]} for one in error.errors[:MOST_ERRORS]]
    return Problem(422, "invalid", "The request is not as it should be.", errors=errors)


def _place(parts: Any) -> str:
    """`body.task_id`, without the name that the framework gives the body."""
    return ".".join(str(part) for part in parts if part != "asked")


def of_fault(fault: Exception) -> Problem:
    """The database may come back; anything else is our fault, and in the log: what no column holds, too."""
    if isinstance(fault, DatabaseError) and not isinstance(fault, DataError):
        log.warning("the API can't reach its database", exc_info=fault)
        return Problem(503, "database", "The database does not answer.", retry_after=5)
    log.error("the API failed", exc_info=fault)
    return Problem(500, "fault", "This is a fault of the server's, and in its log.")


def _of_http_error(error: HttpError) -> Problem:
    if isinstance(error, AuthenticationError):
        return unauthorized()
    code = {400: "unreadable"}.get(error.status_code, "error")
    return Problem(error.status_code, code, error.message)


READERS: dict[type[Exception], Callable[[Any], Problem]] = {
    Problem: lambda problem: problem,
    Refused: lambda refusal: of_refusal(refusal.code, str(refusal)),
    Http404: lambda _: missing("There is no such thing."),
    ValidationError: unreadable,
    HttpError: _of_http_error,
    Exception: of_fault,
}


def told_by(api: NinjaAPI) -> None:
    """Have each exception of the API's views answered as a problem."""
    for kind, reader in READERS.items():
        api.add_exception_handler(kind, _handler(reader))


def _handler(reader: Callable[[Any], Problem]) -> Callable[[HttpRequest, Any], HttpResponse]:
    return lambda request, error: reader(error).response()
