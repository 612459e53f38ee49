"""The OpenAPI document: what the framework makes of the views, with the errors and headers of all of them."""

from __future__ import annotations

from typing import Any

from ninja import NinjaAPI
from ninja.openapi.schema import OpenAPISchema

from dashboard.api.problems import MEDIA_TYPE

Document = dict[str, Any]

ALWAYS = {
    400: "The request can't be read",
    401: "No token, or one that is not good",
    403: "This token, or its reach, does not allow it; or the installation is read-only",
    404: "There is no such thing, or it is beyond the reach of this token",
    422: "A part of the request is not as it should be",
    429: "More requests in this minute than a token may make",
    503: "The database does not answer",
}
OF_COMMANDS = {
    409: "Refused, as things stand: `code` says why",
    411: "No Content-Length",
    413: "The body is too large",
    415: "The body is not application/json",
}
PROBLEM: Document = {
    "title": "Problem",
    "description": "RFC 9457. `code` is for programs, `detail` for people; `action` is what was refused.",
    "type": "object",
    "required": ["type", "title", "status", "code", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "code": {"type": "string"},
        "detail": {"type": "string"},
        "action": {"type": "integer"},
        "retry_after": {"type": "integer"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["where", "what"],
                "properties": {"where": {"type": "string"}, "what": {"type": "string"}},
            },
        },
    },
}
LIMITS: Document = {
    "RateLimit-Policy": {"schema": {"type": "string"}, "description": "How many requests a minute."},
    "RateLimit": {
        "schema": {"type": "string"},
        "description": "How many are left, for how many seconds.",
    },
}
OF_ACTION: Document = {
    "Location": {"schema": {"type": "string"}, "description": "Where to ask what came of it."},
    "Idempotency-Replayed": {"schema": {"type": "string"}, "description": "true, where it was done before."},
}


def document_of(api: NinjaAPI) -> OpenAPISchema:
    """The whole document."""
    told = api.get_openapi_schema()
    told["components"]["schemas"] = _names_held(told["components"]["schemas"])
    told["components"]["schemas"]["Problem"] = PROBLEM
    for methods in told["paths"].values():
        for method, operation in methods.items():
            _complete(operation, writes=method == "post")
    return told


def _complete(operation: Document, *, writes: bool) -> None:
    for parameter in operation["parameters"]:
        parameter["schema"] = _without_null(parameter["schema"])
    for answer in operation["responses"].values():
        answer["headers"] = {**LIMITS, **(OF_ACTION if writes else {})}
    for status, meaning in {**ALWAYS, **(OF_COMMANDS if writes else {})}.items():
        operation["responses"][status] = _problem(meaning)


def _names_held(part: Any) -> Any:
    """The same, where a pattern that all names of an object must have is said of all: pydantic writes it as
    one for some of the names, and JSON Schema then takes any others."""
    if isinstance(part, list):
        return [_names_held(each) for each in part]
    if not isinstance(part, dict):
        return part
    held = {name: _names_held(each) for name, each in part.items() if name != "patternProperties"}
    for pattern, values in part.get("patternProperties", {}).items():
        names = {**held.get("propertyNames", {}), "pattern": pattern}
        held |= {"propertyNames": names, "additionalProperties": values}
    return held


def _problem(meaning: str) -> Document:
    return {
        "description": meaning,
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }


def _without_null(schema: Document) -> Document:
    """A parameter is there or it is not: an address and a header have no null."""
    choices = [choice for choice in schema.get("anyOf", ()) if choice != {"type": "null"}]
    if len(choices) != 1:
        return schema
    return {**{name: value for name, value in schema.items() if name != "anyOf"}, **choices[0]}
