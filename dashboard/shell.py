"""The commands of people on the command line: who acts, what came of it, how it is said."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, get_type_hints

import orjson
from django.contrib.auth.models import User
from django.core.management.base import CommandError, CommandParser
from pydantic import ValidationError

from dashboard.command_fields import Form, command_from, fields_of, form_of
from dashboard.terminal import printable
from jobs.models import Action
from jobs.models.people import Outcome
from jobs.perform import Actor, Command, Refused, perform

WHO = "NIGHTDESK_USER"
LOOK_EVERY = 0.2
# Options that the command line itself has, or Django.
TAKEN = {"as", "json", "once", "wait", "version", "settings", "verbosity", "traceback", "pythonpath"}


def add_who(parser: CommandParser) -> None:
    """`--as`: on whose behalf. Whoever has a shell here may name anybody: the audit keeps the name."""
    parser.add_argument("--as", dest="who", default=os.environ.get(WHO), help=f"the account (or {WHO})")
    parser.add_argument("--json", action="store_true", help="JSON, for programs")


def add_acting(parser: CommandParser) -> None:
    """What is the same for all commands."""
    add_who(parser)
    parser.add_argument("--reason", default="", help="why; the audit keeps it")
    parser.add_argument("--once", metavar="KEY", help="a key of your own: under it, this is done once")
    parser.add_argument("--wait", type=float, metavar="SECONDS", default=0.0, help="for facts to tell")


def add_fields(parser: CommandParser, command: type[Command], *, without: tuple[str, ...] = ()) -> None:
    """An option for each field of a command."""
    hints = get_type_hints(command)
    for field in fields_of(command):
        if field.name not in (*without, "reason"):
            parser.add_argument(
                option_of(field.name),
                dest=f"field_{field.name}",
                required=_is_needed(field),
                metavar=_kind_of(hints[field.name]),
            )


def option_of(name: str) -> str:
    """`task_id` is `--task-id`; what means something else already has `field-` before it."""
    plain = name.replace("_", "-")
    return f"--field-{plain}" if name in TAKEN else f"--{plain}"


def _is_needed(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _kind_of(hint: Any) -> str:
    """What the help says of a value."""
    return hint.__name__.upper() if isinstance(hint, type) else "VALUE"


def account_of(name: str | None) -> User:
    """The account of this name. Raises CommandError."""
    if not name:
        raise CommandError(f"say on whose behalf: --as ACCOUNT, or {WHO} in the environment")
    found = User.objects.filter(username=name, is_active=True).first()
    if found is None:
        raise CommandError(f"there is no account {printable(name)!r}, or it is closed")
    return found


def told_fields(options: Mapping[str, Any]) -> dict[str, str]:
    """The fields that were given, as texts."""
    given = {name.removeprefix("field_"): text for name, text in options.items() if name.startswith("field_")}
    return {name: text for name, text in given.items() if text is not None}


def act(command: type[Command], given: Mapping[str, str], options: Mapping[str, Any]) -> Action:
    """Do it, through the one door. Raises CommandError for what can't be read, or was refused."""
    user = account_of(options["who"])
    form = _read(form_of(command), {**given, "reason": options["reason"]})
    values = {name: getattr(form, name) for name in type(form).model_fields}
    once = options["once"]
    if once is not None and not 1 <= len(once) <= 64:
        raise CommandError("--once takes a key of 1 to 64 characters")
    try:
        made = command_from(command, values)
        action = perform(Actor(user, "command line"), made, options["reason"], once)
    except Refused as refusal:
        raise CommandError(printable(str(refusal))) from None
    return _settled(action, options["wait"])


def _read(form: type[Form], texts: Mapping[str, str]) -> Form:
    """Texts as the values that the fields are to hold: as they stand, else as JSON."""
    try:
        return form.model_validate(dict(texts))
    except ValidationError as fault:
        wrong = {str(error["loc"][0]) for error in fault.errors() if error["loc"]}
    values = {name: _from_json(text) if name in wrong else text for name, text in texts.items()}
    try:
        return form.model_validate(values)
    except ValidationError as fault:
        first = fault.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise CommandError(printable(f"{where}: {first['msg']}")) from None


def _from_json(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return text


def _settled(action: Action, patience: float) -> Action:
    """The action once facts have told what came of it, or patience has ended."""
    until = time.monotonic() + patience
    while action.is_open and time.monotonic() < until:
        time.sleep(LOOK_EVERY)
        action.refresh_from_db()
    return action


def told_of(action: Action) -> dict[str, Any]:
    """What came of an action, for JSON and for people."""
    return {
        "action": action.pk,
        "command": action.command,
        "target": action.target,
        "outcome": action.outcome,
        "refusal": action.refusal,
        "detail": action.detail,
        "count": action.count,
        "after": None if action.after is None else orjson.loads(action.after),
    }


def sentence_of(action: Action) -> str:
    """One line, which claims no more than is known."""
    words = {
        Outcome.DONE: "done",
        Outcome.ASKED: "asked, not yet confirmed",
        Outcome.SENT: "sent, not yet confirmed",
        Outcome.REFUSED: "refused",
        Outcome.FAILED: "failed",
    }[Outcome(action.outcome)]
    detail = f": {action.detail}" if action.detail else ""
    after = "" if action.after is None else f" {action.after}"
    return printable(f"{action.command} {action.target}: {words}{detail}{after} (action {action.pk})")


def failed(action: Action) -> bool:
    """Whether the command line should say so by its exit code."""
    return action.outcome in (Outcome.REFUSED, Outcome.FAILED)


def now() -> datetime:
    return datetime.now(UTC)
