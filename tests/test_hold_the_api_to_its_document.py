"""The whole API is held against what its document says, by requests as they should be and should not be.

A few examples for each address and role; with HYPOTHESIS_PROFILE=many, as the CI has it, many more.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import jsonschema_rs
import orjson
import pytest
import schemathesis
from django.core.handlers.wsgi import WSGIHandler
from django.core.signals import request_finished, request_started
from django.db import close_old_connections
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS, load_all_checks
from schemathesis.core.control import SkipTest
from schemathesis.core.parameters import ParameterLocation
from schemathesis.core.transport import Response

from dashboard.api import door
from dashboard.api.document import document_of
from dashboard.api.v1 import api
from jobs.access import ROLES
from jobs.allowance import Allowance
from jobs.models import Bulk, Job
from jobs.models.bulk import Deed
from jobs.perform import registered
from tests.api import Program, account, token_of
from tests.seed import seed

MANY = os.environ.get("HYPOTHESIS_PROFILE") == "many"
HELD = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "positive_data_acceptance",
)
# What of a span makes sense (its beginning before its end, not too many steps) no schema can say.
BY_ITSELF = ("/api/v1/stats", "positive_data_acceptance")

load_all_checks()
DOCUMENT = orjson.loads(orjson.dumps(document_of(api), option=orjson.OPT_NON_STR_KEYS))
SCHEMA = schemathesis.openapi.from_dict(DOCUMENT)
SCHEMA.app = WSGIHandler()
OPERATIONS: dict[str, Any] = {
    found.ok().label: found.ok()  # type: ignore[union-attr]
    for found in SCHEMA.get_all_operations()
}


@pytest.fixture
def things(db: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """What is there, by the names that the API has for it; and an allowance without end."""
    monkeypatch.setattr(door, "allowance", Allowance(10_000_000))
    # As Django's own test client does: the connection is the test's.
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    now = timezone.now()
    job: Job = seed(now, jobs=20)[-1]
    bulk = Bulk.objects.create(deed=Deed.RETRY, who="ana", bound=job.pk, made_at=now, frozen_at=now)
    yield {
        "task_id": job.task_id,
        "job_id": job.pk,
        "bulk": bulk.pk,
        "bulk_id": bulk.pk,
        "queue": job.queue,
        "task": job.task,
        "worker": job.worker,
        "jobs": [job.task_id],
    }
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)


def program_of(role: str) -> Program:
    """One with a token of somebody in this role; "" has none."""
    return Program(token_of(account(f"{role}-here", role))[0] if role else None)


def meant(case: Any, things: dict[str, Any]) -> None:
    """Let a request be about something that is there."""
    for name in case.path_parameters or {}:
        known = {"name": things["queue"] if "queues" in case.path else things["worker"]}
        case.path_parameters[name] = {**things, **known}.get(name, case.path_parameters[name])
    if isinstance(case.body, dict):
        case.body.update({name: things[name] for name in case.body if name in things})


def new_key(case: Any) -> None:
    """A key that was used before is another matter."""
    if "Idempotency-Key" in (case.headers or {}):
        case.headers["Idempotency-Key"] = str(uuid.uuid4())


def right_as_sent(case: Any, response: Response) -> bool:
    """Whether all that was made wrong about a question was lost on the way to the server.

    Our own header goes in place of a missing one, and a parameter that holds nothing is not sent at all.
    """
    wrong = {place for place, made in case.meta.components.items() if made.mode.is_negative}
    asked = {
        ParameterLocation.QUERY: (case.operation.query, query_of(response)),
        ParameterLocation.HEADER: (case.operation.headers, headers_of(response, case.operation.headers)),
    }
    return wrong <= asked.keys() and all(is_asked_right(*asked[place]) for place in wrong)


def query_of(response: Response) -> list[tuple[str, str]]:
    return parse_qsl(urlsplit(str(response.request.url)).query, keep_blank_values=True)


def headers_of(response: Response, parameters: Iterable[Any]) -> list[tuple[str, str]]:
    """Those that the document names: a client may send others."""
    sent = response.request.headers
    return [(each.name, str(sent[each.name])) for each in parameters if each.name in sent]


def is_asked_right(parameters: Iterable[Any], sent: list[tuple[str, str]]) -> bool:
    """Whether what was sent is what the document has, each once, and as it has it."""
    known = {each.name: each for each in parameters}
    missing = {name for name, each in known.items() if each.is_required} - {name for name, _ in sent}
    each_once = len(dict(sent)) == len(sent)
    return not missing and each_once and all(name in known and fits(known[name], text) for name, text in sent)


def fits(parameter: Any, text: str) -> bool:
    """Whether the text in an address can be read as the document says."""
    schema = {**parameter.definition["schema"], "components": DOCUMENT["components"]}
    meanings: list[Any] = [text]
    with suppress(ValueError):
        meanings.append(orjson.loads(text))
    return any(jsonschema_rs.is_valid(schema, meaning) for meaning in meanings)


def held(case: Any, program: Program) -> None:
    """Send it, and hold the answer against the document."""
    headers = {"Authorization": f"Bearer {program.secret}"} if program.secret else {}
    response = case.call(headers=headers)
    left_out = {"negative_data_rejection"} if right_as_sent(case, response) else set()
    checks = [
        CHECKS.get_one(name) for name in HELD if (case.path, name) != BY_ITSELF and name not in left_out
    ]
    case.validate_response(response, checks=checks, headers=headers)


@pytest.mark.parametrize("role", [*ROLES, ""])
@pytest.mark.parametrize("kind", ["GET", "POST"])
def test_each_address_keeps_to_the_document(kind: str, role: str, things: dict[str, Any]) -> None:
    program = program_of(role)
    for label, operation in OPERATIONS.items():
        if label.startswith(kind):
            run(operation.as_strategy(GenerationMode.POSITIVE), program, things)
            # What has no part that could be wrong is left out.
            with suppress(SkipTest):
                run(operation.as_strategy(GenerationMode.NEGATIVE), program, {})


def run(cases: Any, program: Program, things: dict[str, Any]) -> None:
    @settings(
        max_examples=15 if MANY else 3,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=cases, about_something=st.booleans())
    def hold(case: Any, about_something: bool) -> None:
        if things:
            new_key(case)
        if things and about_something:
            meant(case, things)
        held(case, program)

    hold()


def test_what_all_names_must_be_is_said_of_all_names() -> None:
    validator = jsonschema_rs.validator_for({**DOCUMENT["components"]["schemas"]["TaskRun"]})
    question = {"task": "shop.pay", "queue": "celery"}
    assert validator.is_valid({**question, "kwargs": {"order": 7}})
    assert not validator.is_valid({**question, "kwargs": {"or\0der": 7}})


def test_each_command_has_an_address() -> None:
    commands = {label.rpartition("/")[2] for label in OPERATIONS if "/commands/" in label}
    assert commands == set(registered.commands)
    assert "job.retry" in commands
