"""How much a reader may see: a reach, and whether what jobs carry is shown. It measures every row and frame.

A frame travels under the name of its scope, which is made from the scope's
content: whoever may see the same shares its frames, and a reach that is
edited has another name from then on.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import orjson
from django.db.models import Q

from jobs import access
from jobs.access import ALL_OF_IT, Span
from jobs.store.patterns import ANY

if TYPE_CHECKING:
    from django.contrib.auth.base_user import AbstractBaseUser
    from django.contrib.auth.models import AnonymousUser

MOST_KNOWN = 1_000
NOBODY = Q(pk__in=[])
# What an exception is called, at the beginning of its text.
EXCEPTION_TYPE = re.compile(r"[A-Za-z_][\w.]{0,100}(?=[:(]|\Z)")


@dataclass(frozen=True)
class Scope:
    """`spans`: None for everything. `payload`: arguments, results, tracebacks and what exceptions say."""

    spans: tuple[Span, ...] | None = None
    payload: bool = True

    @property
    def name(self) -> str:
        """How it is called in topics: letters and digits."""
        if self == EVERYTHING:
            return "all"
        return f"s{hashlib.sha256(self.definition.encode()).hexdigest()[:24]}"

    @property
    def definition(self) -> str:
        """All of it as text, for `read`."""
        spans = None if self.spans is None else sorted((span.queues, span.tasks) for span in self.spans)
        return orjson.dumps([spans, self.payload]).decode()

    @classmethod
    def read(cls, definition: str) -> Scope:
        """Raises ValueError for what is no definition."""
        spans, payload = orjson.loads(definition)
        known = None if spans is None else tuple(Span(tuple(queues), tuple(tasks)) for queues, tasks in spans)
        return cls(known, bool(payload))

    def covers(self, task: str | None, queue: str | None) -> bool:
        """Whether what has this task and queue is to be seen."""
        return access.reaches(self.spans, task, queue)

    def covers_task(self, task: str | None) -> bool:
        """Whether anything of this task is to be seen."""
        return self.spans is None or any(span.covers_task(task) for span in self.spans)

    def covers_queue(self, queue: str | None) -> bool:
        """Whether anything of this queue is to be seen."""
        return self.spans is None or any(span.covers_queue(queue) for span in self.spans)

    def rows(self, task: str | None, queue: str | None) -> Q:
        """The condition for rows whose task and queue are in these fields; None for a row without one."""
        if self.spans is None:
            return Q()
        return either(_both(span, task, queue) for span in self.spans)

    def within(self, task: str | None, queue: str | None) -> Scope:
        """What of it is left to tell apart among jobs of this task and this queue, where these are known."""
        if self.spans is None:
            return self
        left = (_narrowed(span, task, queue) for span in self.spans)
        spans = tuple(span for span in left if span is not None)
        return Scope(None if ALL_OF_IT in spans else spans, self.payload)

    def words_of(self, exception: str | None) -> str | None:
        """What may be told of an exception: all of it, or its type alone."""
        if exception is None or self.payload:
            return exception
        found = EXCEPTION_TYPE.match(exception)
        return found[0] if found else None


EVERYTHING = Scope()


def either(conditions: Iterable[Q]) -> Q:
    """Any of them. (`|` takes an empty Q for none at all, not for everything.)"""
    whole = NOBODY
    for condition in conditions:
        if not condition:
            return Q()
        whole |= condition
    return whole


def _both(span: Span, task: str | None, queue: str | None) -> Q:
    return _named(task, span.tasks) & _named(queue, span.queues)


def _named(field: str | None, patterns: Collection[str]) -> Q:
    if field is None or ANY in patterns:
        return Q()
    names = [pattern for pattern in patterns if ANY not in pattern]
    wild = [pattern for pattern in patterns if ANY in pattern]
    return either([Q(**{f"{field}__in": names}), *(Q(**{f"{field}__patterned": one}) for one in wild)])


def _narrowed(span: Span, task: str | None, queue: str | None) -> Span | None:
    """The span among jobs with this task and queue; None if it reaches none of them."""
    if (task is not None and not span.covers_task(task)) or (
        queue is not None and not span.covers_queue(queue)
    ):
        return None
    return Span(span.queues if queue is None else (ANY,), span.tasks if task is None else (ANY,))


def scope_of(user: AbstractBaseUser | AnonymousUser) -> Scope | None:
    """How much `user` may see; None for nothing."""
    if not (user.is_authenticated and access.has(user, "view_record")):
        return None
    return Scope(access.spans_of(user), access.has(user, "view_payload"))


# The scopes that this process was told of, by name, those used last at the end.
_known: dict[str, Scope] = {}


def known(scope: Scope) -> str:
    """The name of a scope, by which `named` will find it again in this process."""
    name = scope.name
    _known.pop(name, None)
    _known[name] = scope
    while len(_known) > MOST_KNOWN:
        del _known[next(iter(_known))]
    return name


def named(name: str) -> Scope:
    """The scope of this name. Raises ValueError if this process was not told of it."""
    if name == "all":
        return EVERYTHING
    if name not in _known:
        raise ValueError(f"no such scope: {name[:40]!r}")
    return _known[name]


def definitions(names: Iterable[str]) -> list[str]:
    """What another process needs to `learn` to make frames for these scopes."""
    return [_known[name].definition for name in sorted(set(names)) if name in _known]


def learn(texts: Iterable[str]) -> None:
    """Know the scopes that another process has defined; a name is made here, so none can be claimed."""
    for text in texts:
        with suppress(ValueError, TypeError):
            known(Scope.read(text))
