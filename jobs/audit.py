"""What people did: written down where it is no command, and found again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from django.db.models import Q, Subquery

from jobs.models import Action, Cluster
from jobs.models.people import Outcome
from jobs.perform import LONGEST_DETAIL, LONGEST_REASON, Via, without_secrets
from jobs.scopes import EVERYTHING
from jobs.search import Candidates

if TYPE_CHECKING:
    from django.contrib.auth.models import User

LATEST = 5
BEYOND_ALL = 2**63 - 1
LOOKED_AT, MOST_LATELY = 500, 30


@dataclass(frozen=True)
class Deed:
    """Something that was done, or refused, without a command: a sign-in, an edit in the admin.

    `who` stands for somebody without an account at hand. `refusal` is a code. `open`: what comes of it is
    not known yet.
    """

    command: str
    kind: str
    target: str
    via: Via
    user: User | None = None
    who: str = ""
    address: str | None = None
    reason: str = ""
    before: Any = None
    after: Any = None
    refusal: str | None = None
    detail: str = ""
    task: str | None = None
    queue: str | None = None
    open: bool = False


def write_down(deed: Deed) -> Action:
    """An action, settled unless its deed is open, in the transaction at hand."""
    now = datetime.now(UTC)
    return Action.objects.create(
        at=now,
        settled_at=None if deed.open else now,
        user=deed.user,
        who=(deed.user.get_username() if deed.user else deed.who)[:150],
        via=deed.via,
        address=deed.address,
        command=deed.command,
        target_kind=deed.kind[:16],
        target=_text(deed.target)[:255],
        task=deed.task,
        queue=deed.queue,
        reason=_text(deed.reason)[:LONGEST_REASON],
        before=None if deed.before is None else without_secrets(deed.before),
        after=None if deed.after is None else without_secrets(deed.after),
        count=1,
        outcome=_outcome(deed),
        refusal=deed.refusal,
        detail=_text(deed.detail)[:LONGEST_DETAIL],
    )


def _outcome(deed: Deed) -> Outcome:
    if deed.open:
        return Outcome.ASKED
    return Outcome.REFUSED if deed.refusal else Outcome.DONE


def _text(text: str) -> str:
    """As PostgreSQL takes it."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}")


@dataclass(frozen=True)
class Query:
    """What to look for; `before` and `after` are ids, exclusive; from `since` to before `until`."""

    who: str | None = None
    command: str | None = None
    kind: str | None = None
    target: str | None = None
    outcome: str | None = None
    via: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    before: int | None = None
    after: int | None = None
    cluster_id: int = Cluster.DEFAULT_ID


@dataclass(frozen=True)
class Page:
    """Actions newest first; `older` and `newer` are where the neighbours begin, None without one."""

    actions: list[Action]
    older: int | None
    newer: int | None


def find(query: Query, user: User) -> Page:
    """The page of actions that `user` may see; its cost does not grow with the audit."""
    ids, older, newer = _candidates(query, user).page(query.before, query.after)
    found = Action.objects.visible_to(user).in_bulk(ids)
    return Page([found[pk] for pk in ids if pk in found], older, newer)


def all_of(query: Query, user: User, most: int) -> Iterator[list[Action]]:
    """Every action that is found, newest first, in chunks; `most` of them, and one more if there is one."""
    candidates, place, count = _candidates(query, user), query.before, 0
    while count <= most:
        look = candidates.window(place)
        found = Action.objects.visible_to(user).in_bulk(look.ids[: most + 1 - count])
        count += len(found)
        yield [found[pk] for pk in look.ids if pk in found]
        if look.edge is None:
            return
        place = look.edge


def between(since: datetime, until: datetime, user: User, most: int) -> list[Action]:
    """The latest actions from `since` to before `until` that `user` may see, newest first; one statement.

    It looks at those of the span alone, by the index on `at`.
    """
    span = Action.objects.visible_to(user).filter(cluster=Cluster.DEFAULT_ID, at__gte=since, at__lt=until)
    return list(span.order_by("-at", "-pk")[:most])


def latest_of(kind: str, target: str, user: User) -> list[Action]:
    """The last actions on one thing, newest first; one statement."""
    rows = Action.objects.visible_to(user).filter(target_kind=kind, target=target[:255])
    return list(rows.order_by("-pk")[:LATEST])


def lately(user: User, since: datetime, cluster_id: int = Cluster.DEFAULT_ID) -> list[Action]:
    """What people did since then, newest first, of the newest LOOKED_AT; one statement.

    What was refused was not done, and who came and went changed nothing.
    """
    of_cluster = Action.objects.filter(cluster=cluster_id)
    newest = Subquery(of_cluster.order_by("-pk").values("pk")[:1])
    rows = Action.objects.visible_to(user).filter(cluster=cluster_id, at__gte=since)
    done = rows.exclude(outcome=Outcome.REFUSED).exclude(command__startswith="account.")
    deeds = done.filter(pk__gt=newest - LOOKED_AT)
    return list(deeds.order_by("-pk")[:MOST_LATELY])


def _candidates(query: Query, user: User) -> Candidates:
    """The most telling filter is served by an index; the others are the residue."""
    told = {
        "target_kind": query.kind,
        "target": query.target,
        "outcome": query.outcome,
        "who": query.who,
        "command": query.command,
        "via": query.via,
    }
    wanted = {name: value for name, value in told.items() if value}
    served = ("target_kind", "target") if query.kind and query.target else ("outcome",)
    indexed: dict[str, Any] = {name: wanted.pop(name) for name in served if name in wanted}
    rows = Action.objects.filter(**(indexed or {"cluster": query.cluster_id}))
    if query.since is not None:
        rows = rows.filter(pk__gte=_first_since(query.since))
    if query.until is not None:
        rows = rows.filter(pk__lt=_first_since(query.until))
    return Candidates(rows, Q(**wanted) & Action.objects.condition_for(user), EVERYTHING)


def _first_since(moment: datetime) -> int:
    """The least id from which on all is younger, as ids grow with time; beyond all ids if nothing is."""
    younger = Action.objects.filter(at__gte=moment).order_by("at", "pk")
    first: int | None = younger.values_list("pk", flat=True).first()
    return BEYOND_ALL if first is None else first
