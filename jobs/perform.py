"""The one door for what people do: permission → audit row with reason and before → execute → outcome.

Pages, admin, API and command line all come through `perform`. A command
writes rows alone (wishes, which a loop of the monitor makes true), in the
transaction that writes the audit, so an action and its effect are committed
together or not at all; what came of it is told by events.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, TypeVar

import orjson
from django.conf import settings
from django.db import IntegrityError, transaction

from jobs import access
from jobs.models.people import OPEN_OUTCOMES, Action, Outcome
from nightdesk.options import SENSITIVE_KEYS
from nightdesk.redaction import Redactor

if TYPE_CHECKING:
    from django.contrib.auth.models import User

C = TypeVar("C")
Via = Literal["page", "admin", "api", "command line"]
LONGEST_REASON, LONGEST_DETAIL = 500, 500
TEXT_LENGTH = 2_000
REDACTOR = Redactor(SENSITIVE_KEYS)


class Refused(Exception):
    """An action that was not taken. `code` is for programs, the text for people."""

    def __init__(self, code: str, why: str) -> None:
        super().__init__(why)
        self.code = code


@dataclass(frozen=True)
class Actor:
    """Who acts, and from where."""

    user: User
    via: Via
    address: str | None = None


@dataclass(frozen=True)
class Subject:
    """What a command is about, as it stands before: `task` and `queue` are what a reach is measured by.

    `before` is JSON-able. `count` is how many things the command touches.
    """

    kind: str
    name: str
    task: str | None = None
    queue: str | None = None
    before: Any = None
    count: int | None = 1
    cluster_id: int = 1


@dataclass(frozen=True)
class Settled:
    """What a command has come to so far: an open outcome if events are to tell."""

    outcome: Outcome = Outcome.ASKED
    after: Any = None
    detail: str = ""
    count: int | None = None


class Command(Protocol):
    """A frozen dataclass: its fields are the arguments that the audit keeps."""

    name: ClassVar[str]
    permission: ClassVar[str]

    def subject(self, user: User) -> Subject:
        """What it is about, as `user` may see it. Raises Refused("missing") where there is no such thing."""
        ...

    def execute(self, action: Action) -> Settled:
        """Write down what is wished for. Raises Refused if it can't be; runs in a transaction."""
        ...


@dataclass
class Registry:
    """Every command there is, by name: the matrix of who may do what is generated from it."""

    commands: dict[str, type[Any]] = field(default_factory=dict)

    def __call__(self, command: type[C]) -> type[C]:
        name, permission = command.name, command.permission  # type: ignore[attr-defined]
        if name in self.commands or permission not in access.PERMISSIONS:
            raise TypeError(f"{command.__name__}: a name of its own and a known permission are needed")
        self.commands[name] = command
        return command


registered = Registry()


def perform(by: Actor, command: Command, reason: str = "", once: str | None = None) -> Action:
    """Do what `command` says, if `by` may, and write down what came of it, also if it was refused.

    With `once`, a key that `by` chose, a repeated request is one action: the
    first one is returned. Another command under the same key is refused.
    """
    if once is not None and (earlier := _earlier(by, once)):
        return _same(earlier, command)
    try:
        with transaction.atomic():
            return _performed(by, command, reason.strip()[:LONGEST_REASON], once)
    except IntegrityError:
        # Two requests under one key at the same moment: the other one was first.
        if once is None or not (earlier := _earlier(by, once)):
            raise
        return _same(earlier, command)


def forbidden(
    user: User, command: type[Command] | Command, task: str | None, queue: str | None
) -> Refused | None:
    """Why `user` may not use `command` on what has this task and queue; None if they may."""
    if settings.READ_ONLY:
        return Refused("read_only", "This installation is read-only.")
    if not access.has(user, command.permission):
        return Refused("permission", f"You lack the permission: {access.PERMISSIONS[command.permission]}.")
    if not access.reaches(access.spans_of(user), task, queue):
        return Refused("reach", "This queue or task is beyond your reach.")
    return None


def _performed(by: Actor, command: Command, reason: str, once: str | None) -> Action:
    try:
        subject = command.subject(by.user)
    except Refused as refusal:
        subject = Subject("?", "?", count=0)
        return _refused(_written(by, command, subject, reason, once), refusal)
    action = _written(by, command, subject, reason, once)
    if hindrance := forbidden(by.user, command, subject.task, subject.queue):
        return _refused(action, hindrance)
    try:
        with transaction.atomic():
            settled = command.execute(action)
    except Refused as refusal:
        return _refused(action, refusal)
    return settle(action, settled)


def _written(by: Actor, command: Command, subject: Subject, reason: str, once: str | None) -> Action:
    return Action.objects.create(
        cluster_id=subject.cluster_id,
        at=datetime.now(UTC),
        user=by.user,
        who=by.user.get_username(),
        via=by.via,
        address=by.address,
        command=command.name,
        target_kind=subject.kind,
        target=subject.name[:255],
        task=subject.task,
        queue=subject.queue,
        reason=reason,
        arguments=_told(arguments_of(command)),
        before=None if subject.before is None else _told(subject.before),
        count=subject.count,
        once=once,
    )


def arguments_of(command: Command) -> dict[str, Any]:
    """The fields of a command, as the audit keeps them."""
    return dataclasses.asdict(command)  # type: ignore[call-overload, no-any-return]


def _told(value: Any) -> str:
    """JSON of it, without secrets."""
    return orjson.dumps(REDACTOR.clean(value, TEXT_LENGTH).value, default=str).decode()


def _refused(action: Action, refusal: Refused) -> Action:
    return settle(action, Settled(Outcome.REFUSED, detail=str(refusal)), refusal.code)


def settle(action: Action, settled: Settled, refusal: str | None = None) -> Action:
    """Write down what came of an open action; one that is settled stays as it is."""
    changes: dict[str, Any] = {"outcome": settled.outcome, "detail": settled.detail[:LONGEST_DETAIL]}
    if settled.after is not None:
        changes["after"] = _told(settled.after)
    if settled.count is not None:
        changes["count"] = settled.count
    if refusal is not None:
        changes["refusal"] = refusal
    if settled.outcome not in OPEN_OUTCOMES:
        changes["settled_at"] = datetime.now(UTC)
    Action.objects.filter(pk=action.pk).update(**changes)
    action.refresh_from_db()
    return action


def _earlier(by: Actor, once: str) -> Action | None:
    return Action.objects.filter(user=by.user, once=once).first()


def _same(earlier: Action, command: Command) -> Action:
    """The earlier action, if it was the same command."""
    if (earlier.command, earlier.arguments) != (command.name, _told(arguments_of(command))):
        raise Refused("once", "This key was used for another command.")
    return earlier
