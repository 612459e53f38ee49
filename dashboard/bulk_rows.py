"""What the pages about bulks show: words, times and shares, from rows alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from django.contrib.auth.models import User
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy

from jobs.bulks import FAILED_AGAIN, NAMES_SHOWN, Preview, within
from jobs.models import Bulk, BulkItem, Job, Outgoing
from jobs.models.bulk import BulkState, Deed, ItemOutcome
from jobs.scopes import scope_of

ITEMS_SHOWN = 50
UNPUBLISHED_COUNTED = 10_000
RATES = (5, 20, 50, 100, 200, 500)
STOP_SHARES = (0.1, 0.25, 0.5, 0.75, 1.0)
# Word, and the badge whose shape and tone it has.
STATES: dict[str, tuple[str | Promise, str]] = {
    BulkState.DRAFT: (gettext_lazy("Not begun"), "later"),
    BulkState.RUNNING: (gettext_lazy("At work"), "running"),
    BulkState.PAUSED: (gettext_lazy("Paused"), "paused"),
    BulkState.ABORTED: (gettext_lazy("Aborted"), "revoked"),
    BulkState.STOPPED: (gettext_lazy("Stopped"), "broken"),
    BulkState.FINISHED: (gettext_lazy("Finished"), "succeeded"),
}
# Which items a tab shows.
TABS: dict[str, dict[str, Any]] = {
    "again": {"outcome": ItemOutcome.DONE, "came__in": FAILED_AGAIN},
    "refused": {"outcome": ItemOutcome.REFUSED, "came": None},
    "failed": {"outcome": ItemOutcome.FAILED, "came": None},
    "waiting": {"outcome": ItemOutcome.DONE, "came": None},
    "left": {"outcome": None, "came": None},
}


@dataclass(frozen=True)
class Share:
    """A name with its count; `share` is that of the commonest, 0 to 1."""

    name: str | None
    count: int
    share: float


@dataclass(frozen=True)
class Counts:
    """The commonest names, and how many jobs have others."""

    shown: list[Share]
    others: int


def counts(counter: Counter[Any]) -> Counts:
    """The commonest first."""
    ranked = counter.most_common()
    shown, rest = ranked[:NAMES_SHOWN], ranked[NAMES_SHOWN:]
    top = shown[0][1] if shown else 1
    return Counts([Share(name, count, count / top) for name, count in shown], sum(n for _, n in rest))


@dataclass(frozen=True)
class Effect:
    """What a retry adds to a queue: `depth` and `pace` (started a second) as they are, None if not known."""

    queue: str | None
    added: int
    depth: int | None
    pace: float | None
    slots: int | None

    @property
    def seconds(self) -> float | None:
        """How much longer the queue's backlog takes at its present pace; None where nobody can tell."""
        return self.added / self.pace if self.pace else None


def effects(preview: Preview, queues: Iterable[Mapping[str, Any]]) -> list[Effect]:
    """For each queue, the one with the most new jobs first."""
    known = {queue["name"]: queue for queue in queues}
    nothing: dict[str, Any] = {}
    rows = []
    for name, added in preview.queues.most_common(NAMES_SHOWN):
        queue = known.get(name, nothing)
        rows.append(Effect(name, added, queue.get("depth"), queue.get("out"), queue.get("slots")))
    return rows


def filter_of(bulk: Bulk) -> dict[str, str | int] | None:
    """The filter that it was made from; None where jobs were chosen one by one."""
    return None if bulk.filter is None else orjson.loads(bulk.filter)


@dataclass(frozen=True)
class Tab:
    """One way to look at the items."""

    name: str
    count: int


def tabs(bulk: Bulk) -> list[Tab]:
    """What there is to look at: failures first."""
    numbers = {
        "again": bulk.failed_again if bulk.deed == Deed.RETRY else 0,
        "failed": bulk.failed,
        "refused": bulk.refused,
        "waiting": bulk.unknown,
        "left": bulk.left,
    }
    return [Tab(name, count) for name, count in numbers.items() if count]


@dataclass(frozen=True)
class Row:
    """An item with its job and the one that was made of it, as far as the record has them."""

    item: BulkItem
    job: Job | None
    new: Job | None


@dataclass(frozen=True)
class Rows:
    """A page of items; `next` is the number of the job to go on after."""

    shown: Sequence[Row]
    next: int | None


def rows(bulk: Bulk, tab: str, after: int, user: User) -> Rows:
    """The items of a tab, in the order in which they are acted on, as `user` may see them."""
    items = list(bulk.items.filter(**TABS[tab], job_id__gt=after).order_by("job_id")[: ITEMS_SHOWN + 1])
    shown, scope = items[:ITEMS_SHOWN], scope_of(user)
    within_reach = within(scope, shown) if scope else []
    old = seen(user, pk__in=[item.job_id for item in shown])
    made = [item.new_task_id for item in shown if item.new_task_id]
    new = {job.task_id: job for job in seen(user, cluster=bulk.cluster_id, task_id__in=made).values()}
    return Rows(
        [Row(item, old.get(item.job_id), new.get(item.new_task_id or "")) for item in within_reach],
        shown[-1].job_id if len(items) > ITEMS_SHOWN else None,
    )


def seen(user: User, **wanted: Any) -> dict[int, Job]:
    """Jobs that `user` may see, by number, with what they may read of exceptions."""
    scope = scope_of(user)
    if scope is None:
        return {}
    found: dict[int, Job] = {job.pk: job for job in Job.objects.within(scope).filter(**wanted)}
    for job in found.values():
        job.exception = scope.words_of(job.exception)
    return found


@dataclass(frozen=True)
class Progress:
    """How far a bulk has come with what it could act on; shares are 0 to 1.

    `seconds_left` is None where nobody can tell.
    """

    share: float
    done_share: float
    seconds_left: float | None
    failed_share: float | None


def progress(bulk: Bulk) -> Progress:
    """By its counters alone."""
    eligible, decided = max(1, bulk.eligible), bulk.succeeded + bulk.failed_again
    return Progress(
        share=1 - bulk.left / eligible,
        done_share=bulk.done / eligible,
        seconds_left=bulk.left / bulk.rate if bulk.state == BulkState.RUNNING else None,
        failed_share=bulk.failed_again / decided if decided else None,
    )


def is_followed(bulk: Bulk, now: datetime) -> bool:
    """Whether its page may still change by itself."""
    if bulk.state == BulkState.DRAFT:
        return bulk.frozen_at is None
    return not bulk.is_over or bulk.ended < bulk.done


@dataclass(frozen=True)
class Choice:
    """A rate with how long the bulk takes at it, in seconds."""

    rate: int
    seconds: float


def choices(bulk: Bulk) -> list[Choice]:
    """The rates to choose from."""
    return [Choice(rate, bulk.eligible / rate) for rate in RATES]


def unpublished(bulk: Bulk) -> int:
    """How many of its messages wait to be published; counting stops at UNPUBLISHED_COUNTED."""
    if bulk.action is None or bulk.deed != Deed.RETRY:
        return 0
    return Outgoing.objects.filter(action=bulk.action)[:UNPUBLISHED_COUNTED].count()
