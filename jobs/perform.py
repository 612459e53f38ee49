"""The one door for what people do: permission → audit row with reason and before → execute → outcome.

Pages, admin, API and command line all come through `perform`. A command
writes rows alone (wishes, which a loop of the monitor makes true), in the
transaction that writes the audit, so an action and its effect are committed
together or not at all; what came of it is told by events.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, TypeVar

from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils.crypto import salted_hmac

from jobs import access
from jobs.models.people import OPEN_OUTCOMES, Action, Outcome
from jobs.store.turns import written
from jobs.values import storable_json
from nightdesk.options import SENSITIVE_KEYS
from nightdesk.redaction import Redactor

if TYPE_CHECKING:
    from django.contrib.auth.models import User

C = TypeVar("C")
Via = Literal["page", "admin", "api", "command line", "monitor"]
LONGEST_NAME, LONGEST_REASON, LONGEST_DETAIL = 255, 500, 500
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

    `before` is JSON-able. `count` is how many things the command touches. With
    `each`, they are many, and the command holds each of them against the reach.
    """

    kind: str
    name: str
    task: str | None = None
    queue: str | None = None
    before: Any = None
    count: int | None = 1
    cluster_id: int = 1
    each: bool = False


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
    subject, hindrance = _looked_at(by.user, command)
    try:
        with written():
            action = _written(by, command, subject, reason.strip()[:LONGEST_REASON], once)
            return _refused(action, hindrance) if hindrance else _executed(action, command)
    except IntegrityError:
        # Two requests under one key at the same moment: the other one was first.
        if once is None or not (earlier := _earlier(by, once)):
            raise
        return _same(earlier, command)


def forbidden(
    user: User, command: type[Command] | Command, task: str | None, queue: str | None
) -> Refused | None:
    """Why `user` may not use `command` on what has this task and queue; None if they may."""
    if lack := lacking(user, command.permission):
        return lack
    if not access.reaches(access.spans_of(user), task, queue):
        return Refused("reach", "This queue or task is beyond your reach.")
    return None


def lacking(user: User, permission: str) -> Refused | None:
    """Why `user` may do nothing that takes this permission; None if they may, as far as they reach."""
    if settings.READ_ONLY:
        return Refused("read_only", "This installation is read-only.")
    if not access.has(user, permission):
        return Refused("permission", f"You lack the permission: {access.PERMISSIONS[permission]}.")
    return None


def _looked_at(user: User, command: Command) -> tuple[Subject, Refused | None]:
    """What it is about, and why not: read before the transaction, since SQLite has one writer at a time."""
    try:
        subject = command.subject(user)
    except Refused as refusal:
        return Subject("?", "?", count=0), refusal
    return subject, _hindrance(user, command, subject)


def _executed(action: Action, command: Command) -> Action:
    try:
        with transaction.atomic():
            settled = command.execute(action)
    except Refused as refusal:
        return _refused(action, refusal)
    return settle(action, settled)


def _hindrance(user: User, command: Command, subject: Subject) -> Refused | None:
    if subject.each:
        return lacking(user, command.permission)
    return forbidden(user, command, subject.task, subject.queue)


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
        target=subject.name[:LONGEST_NAME],
        task=subject.task and subject.task[:LONGEST_NAME],
        queue=subject.queue and subject.queue[:LONGEST_NAME],
        reason=reason,
        arguments=without_secrets(arguments_of(command)),
        before=None if subject.before is None else without_secrets(subject.before),
        count=subject.count,
        once=once,
        digest=None if once is None else _digest(command),
    )


def arguments_of(command: Command) -> dict[str, Any]:
    """The fields of a command, as the audit keeps them."""
    return dataclasses.asdict(command)  # type: ignore[call-overload, no-any-return]


def without_secrets(value: Any) -> str:
    """JSON of it, as the audit keeps it."""
    return storable_json(REDACTOR.clean(value, TEXT_LENGTH).value)


def _refused(action: Action, refusal: Refused) -> Action:
    return settle(action, Settled(Outcome.REFUSED, detail=str(refusal)), refusal.code)


def settle(action: Action, settled: Settled, refusal: str | None = None) -> Action:
    """Write down what came of an open action; one that is settled stays as it is."""
    changes = _changes(settled, refusal)
    moved = not changes or Action.objects.filter(pk=action.pk).update(**changes)
    if moved:
        for name, value in changes.items():
            setattr(action, name, value)
    else:
        action.refresh_from_db()
    return action


def _changes(settled: Settled, refusal: str | None) -> dict[str, Any]:
    """The columns that say more than that it was asked."""
    told = {
        "outcome": settled.outcome if settled.outcome != Outcome.ASKED else None,
        "detail": settled.detail[:LONGEST_DETAIL] or None,
        "after": None if settled.after is None else without_secrets(settled.after),
        "count": settled.count,
        "refusal": refusal,
        "settled_at": None if settled.outcome in OPEN_OUTCOMES else datetime.now(UTC),
    }
    return {name: value for name, value in told.items() if value is not None}


def _earlier(by: Actor, once: str) -> Action | None:
    return Action.objects.filter(user=by.user, once=once).first()


def _same(earlier: Action, command: Command) -> Action:
    """The earlier action, if it was the same command."""
    if earlier.command != command.name or not _carries(earlier, command):
        raise Refused("once", "This key was used for another command.")
    return earlier


def _carries(earlier: Action, command: Command) -> bool:
    """Whether the arguments are the same. What was done before there were digests goes by what is shown."""
    if earlier.digest is None:
        return earlier.arguments == without_secrets(arguments_of(command))
    return earlier.digest == _digest(command)


def _digest(command: Command) -> str:
    """Of all arguments, whole and with their secrets: keyed, so that nobody finds those by guessing."""
    arguments = json.dumps(arguments_of(command), default=str)
    return salted_hmac("jobs.perform", arguments, algorithm="sha256").hexdigest()
