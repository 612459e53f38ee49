"""Workflows: jobs that belong together, folded into rows. Pure.

Celery tells of each job its root, its parent and its group. Jobs of one root are one workflow. The
members of a group that was sent by itself have no root in common, so the group is the workflow; what
follows them (the body of a chord, the rest of a chain) has one of them as its root.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from jobs.models import ENDED, State

# Jobs of the same task at the same place, above which they are one row.
FEW = 5
MOST_ROWS = 200
BAD = frozenset({State.FAILED, State.REJECTED})


@dataclass(frozen=True, slots=True)
class Member:
    """One job of a workflow, as the record has it."""

    id: int
    task_id: str
    task: str | None
    queue: str | None
    state: str
    verdict: str | None
    root: str | None
    parent: str | None
    group: str | None
    retry_of: str | None
    published: datetime | None
    started: datetime | None
    ended: datetime | None


@dataclass(slots=True)
class Row:
    """One job, or many of the same task at the same place; `depth` counts what came before it.

    `place` is the row's number, `under` that of the row before it in the flow.
    """

    place: int
    under: int | None
    depth: int
    members: list[Member]
    single: Member | None = None
    states: Counter[str] = field(default_factory=Counter)

    @property
    def first(self) -> Member:
        return self.members[0]

    @property
    def count(self) -> int:
        return len(self.members)

    @property
    def state(self) -> str:
        """What the row has come to: what failed says most, then what is still to do."""
        return state_of(self.states)

    @property
    def published(self) -> datetime | None:
        return min((one.published for one in self.members if one.published), default=None)

    @property
    def started(self) -> datetime | None:
        return min((one.started for one in self.members if one.started), default=None)

    @property
    def open(self) -> bool:
        """Whether one of them has not come to its end."""
        return any(state not in ENDED for state in self.states)

    @property
    def ended(self) -> datetime | None:
        """When the last of them ended; None while one is open, or its end is not known."""
        moments = [one.ended for one in self.members]
        return None if None in moments else max(moment for moment in moments if moment)


def state_of(states: Mapping[str, int]) -> str:
    """One state for many jobs."""
    if any(states.get(state) for state in BAD):
        return State.FAILED
    if any(states.get(state) for state in (State.RUNNING, State.RETRYING)):
        return State.RUNNING
    still = [state for state, count in states.items() if count and state not in ENDED]
    if still:
        return State.RUNNING if states.get(State.SUCCEEDED) else still[0]
    return State.REVOKED if states.get(State.REVOKED) else State.SUCCEEDED


def mended(members: Iterable[Member]) -> set[str]:
    """The task ids of those that failed, and have succeeded in a second life."""
    known = list(members)
    good = {one.task_id for one in known if one.state == State.SUCCEEDED}
    again = {one.task_id: one.retry_of for one in known if one.retry_of}
    healed = set()
    for task_id in good & again.keys():
        while (earlier := again.get(task_id)) is not None and earlier not in healed:
            healed.add(earlier)
            task_id = earlier
    return healed


def rows(members: Sequence[Member]) -> list[Row]:
    """The workflow in its order: each below what it follows, siblings as they were sent."""
    kinds = _kinds(members)
    by_kind: dict[int, list[Member]] = defaultdict(list)
    for one in sorted(members, key=_age):
        by_kind[kinds.of[one.task_id]].append(one)
    under: dict[int | None, list[int]] = defaultdict(list)
    for kind in by_kind:
        under[kinds.parent[kind]].append(kind)
    return _laid_out(by_kind, under)


def _age(one: Member) -> tuple[float, int]:
    return (one.published.timestamp() if one.published else float("inf"), one.id)


@dataclass
class _Kinds:
    """The kind of each job by its task id, and of each kind the one that comes before it."""

    of: dict[str, int]
    parent: dict[int, int | None]


def _kinds(members: Sequence[Member]) -> _Kinds:
    """Jobs are of one kind if they have task and group in common, and what they follow is of one kind.

    Those that are few at their place are kinds of their own.
    """
    known = {one.task_id: one for one in members}
    numbers: dict[tuple[int | None, str | None, str | None], int] = {}
    kinds = _Kinds({}, {})
    for task_id in _parents_first(known):
        one = known[task_id]
        before = kinds.of.get(_before(one) or "")
        key = (before, one.group, one.task)
        number = numbers.setdefault(key, len(numbers))
        kinds.of[task_id], kinds.parent[number] = number, before
    return _apart(known, kinds)


def _before(one: Member) -> str | None:
    """The job that it follows: its first life, else its parent."""
    return one.retry_of or one.parent


def _parents_first(known: Mapping[str, Member]) -> list[str]:
    """Task ids so that each comes after what it follows; a circle is cut where it is entered."""
    order: dict[str, None] = {}
    for task_id in known:
        path: dict[str, None] = {}
        at: str | None = task_id
        while at is not None and at in known and at not in order and at not in path:
            path[at] = None
            at = _before(known[at])
        order.update(dict.fromkeys(reversed(path)))
    return list(order)


def _apart(known: Mapping[str, Member], kinds: _Kinds) -> _Kinds:
    """The same, where each of few is a kind of its own."""
    counts = Counter(kinds.of.values())
    apart = _Kinds({}, {})
    for number, task_id in enumerate(known, len(counts)):
        kind = kinds.of[task_id]
        apart.of[task_id] = kind if counts[kind] > FEW else number
    for task_id, one in known.items():
        apart.parent.setdefault(apart.of[task_id], apart.of.get(_before(one) or ""))
    return apart


def _laid_out(by_kind: Mapping[int, list[Member]], under: Mapping[int | None, list[int]]) -> list[Row]:
    """Rows in depth-first order; a kind that only a circle leads to is begun by itself."""
    found: list[Row] = []
    places: dict[int, int] = {}
    stack: list[tuple[int, int | None, int]] = [(kind, None, 0) for kind in reversed(under.get(None, []))]
    left = dict.fromkeys(by_kind)
    while stack or left:
        kind, before, depth = stack.pop() if stack else (next(iter(left)), None, 0)
        if kind not in left:
            continue
        del left[kind]
        members = by_kind[kind]
        places[kind] = len(found)
        single = members[0] if len(members) == 1 else None
        states = Counter(one.state for one in members)
        found.append(Row(len(found), before, depth, members, single, states))
        stack += [(child, places[kind], depth + 1) for child in reversed(under.get(kind, []))]
    return found
