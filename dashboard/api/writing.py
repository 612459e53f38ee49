"""What programs do: one address for each registered command, through the one door."""

# No postponed annotations here: the framework reads those of the views that are made in `_view_of`.
import hashlib
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated

import orjson
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from ninja import Router
from ninja.params.functions import Header
from pydantic import Field

from dashboard.api import schemas
from dashboard.api.problems import MEDIA_TYPE, of_refusal
from dashboard.api.telling import CARRIED, action_told
from dashboard.command_fields import command_from, form_of
from dashboard.visitors import address_of, user_of
from jobs import access
from jobs.models import Action, Answer
from jobs.models.people import Outcome
from jobs.perform import Actor, Command, perform, registered

REPLAYED = "Idempotency-Replayed"
Key = Annotated[
    str,
    Field(
        pattern=r"^[\x21-\x7e]{1,255}$",
        description="A text of your own: the same request with the same key is done once.",
    ),
]


def router_of_commands() -> Router:
    """An address for each command that is registered."""
    router = Router()
    for name, command in sorted(registered.commands.items()):
        subject, _, verb = name.partition(".")
        router.post(
            f"/commands/{name}",
            response={202: schemas.Action},
            operation_id=f"do_{name.replace('.', '_').replace('-', '_')}",
            tags=["commands"],
            summary=f"{subject.capitalize()}: {verb.replace('-', ' ')}",
            description=f"{_sentence(command)}\n\nNeeds the permission {command.permission}.",
        )(_view_of(command))
    return router


def _sentence(command: type[Command]) -> str:
    return " ".join((command.__doc__ or command.name).split())


def _view_of(command: type[Command]) -> Callable[..., HttpResponse]:
    form = form_of(command)

    def view(
        request: HttpRequest,
        asked: form,  # type: ignore[valid-type]
        idempotency_key: Annotated[Key | None, Header(alias="Idempotency-Key")] = None,
    ) -> HttpResponse:
        values = {name: getattr(asked, name) for name in form.model_fields}
        return done(request, command_from(command, values), values["reason"] or "", idempotency_key)

    return view


def done(request: HttpRequest, command: Command, reason: str, key: str | None) -> HttpResponse:
    """Do it, or tell what was told when the same was asked for under this key. Raises Refused."""
    once = _once(key)
    with transaction.atomic():
        known = once is not None and Action.objects.filter(user=user_of(request), once=once).exists()
        action = perform(_actor_of(request), command, reason, once)
        kept = None if once is None else Answer.objects.filter(action=action).first()
        told = kept or _answer_to(request, action)
        replayed = known or kept is not None
        if once is not None and not replayed:
            told.save(force_insert=True)
    return _response(_readable(request, told), replayed=replayed)


def _readable(request: HttpRequest, told: Answer) -> Answer:
    """A kept answer as this token may read it: another one of the account may have asked first."""
    if told.status < 400 and not access.has(request.user, "view_payload"):
        told.body = orjson.dumps({**orjson.loads(told.body), **dict.fromkeys(CARRIED)}).decode()
    return told


def _actor_of(request: HttpRequest) -> Actor:
    return Actor(user_of(request), "api", address_of(request))


def _once(key: str | None) -> str | None:
    """The key as the door takes it: any text becomes one of its length, apart from those of pages."""
    return None if key is None else hashlib.sha256(key.encode()).hexdigest()


def _answer_to(request: HttpRequest, action: Action) -> Answer:
    if action.outcome == Outcome.REFUSED:
        problem = of_refusal(action.refusal or "", action.detail, action=action.pk).response()
        status, body = problem.status_code, problem.content
    else:
        told = schemas.Action.model_validate(action_told(request, action)).model_dump()
        status, body = 202, orjson.dumps(told, option=orjson.OPT_UTC_Z)
    return Answer(action=action, at=datetime.now(UTC), status=status, body=body.decode())


def _response(told: Answer, *, replayed: bool) -> HttpResponse:
    kind = MEDIA_TYPE if told.status >= 400 else "application/json; charset=utf-8"
    response = HttpResponse(told.body, status=told.status, content_type=kind)
    response["Location"] = reverse("api:action", args=[told.action_id])
    if replayed:
        response[REPLAYED] = "true"
    return response
