"""What people do to many jobs at once: look at a set, begin, pause, go on, end."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar

import orjson
from django.db.models import Max
from django.utils.translation import gettext as _

from jobs import bulks
from jobs.bulks import Preview, only
from jobs.models import Action, Bulk, Cluster, Job, State
from jobs.models.bulk import BulkState, Deed
from jobs.models.people import Outcome
from jobs.perform import Refused, Settled, Subject, lacking, registered
from jobs.stats import EARLIEST, LATEST
from jobs.values import in_utc
from workers.bulk.acting import end
from workers.bulk.deeds import DEEDS
from workers.bulk.gathering import gather, gather_chosen

if TYPE_CHECKING:
    from django.contrib.auth.models import User

MOST_CHOSEN = 1_000
# Above so many jobs, their number is to be typed and a reason to be given.
TYPED_ABOVE = 100
STALE_AFTER = timedelta(hours=1)
LOWEST_RATE, HIGHEST_RATE = 0.1, 500.0


@registered
@dataclass(frozen=True)
class BulkPreview:
    """Look at a set of jobs, and freeze it: those chosen (`jobs` are task ids), or all that match a filter.

    `since` and `until` are about their publish. Nothing is done to them yet. What can't be gathered at once,
    the monitor gathers.
    """

    name: ClassVar[str] = "bulk.preview"
    permission: ClassVar[str] = "act_in_bulk"
    deed: str
    jobs: tuple[str, ...] = ()
    state: str | None = None
    task: str | None = None
    queue: str | None = None
    error: int | None = None
    cluster_id: int = Cluster.DEFAULT_ID
    since: datetime | None = None
    until: datetime | None = None

    @property
    def filter(self) -> dict[str, str | int]:
        """What was given of it; moments in UTC, as `gathering.query_of` reads them."""
        told = {"state": self.state, "task": self.task, "queue": self.queue, "error": self.error}
        told |= {"since": _as_field(self.since), "until": _as_field(self.until)}
        return {name: value for name, value in told.items() if value}

    def subject(self, user: User) -> Subject:
        return Subject("bulk", "new", task=self.task, queue=self.queue, count=None, each=True)

    def execute(self, action: Action) -> Settled:
        self._refuse_what_makes_no_sense()
        user = _who(action)
        _need(user, DEEDS[self.deed].permission)
        bulk = self._draft(action)
        bulk = gather_chosen(bulk, user, self.jobs) if self.jobs else gather(bulk, user)
        return Settled(Outcome.DONE, after={"bulk": bulk.pk}, count=bulk.total)

    def _refuse_what_makes_no_sense(self) -> None:
        if any(end is not None and not _is_possible(end) for end in (self.since, self.until)):
            raise Refused("moment", _("A moment must be in the years from 2000 to 2099."))
        if self.deed not in DEEDS:
            raise Refused("deed", _("This can't be done to many jobs at once."))
        if bool(self.jobs) == bool(self.filter):
            raise Refused("set", _("Choose jobs, or a filter: one of the two."))
        if self.error is not None and self.error < 1:
            raise Refused("set", _("There is no such error."))
        if self.since and self.until and (_as_field(self.until) or "") <= (_as_field(self.since) or ""):
            raise Refused("set", _("The span ends before it begins."))
        if len(self.jobs) > MOST_CHOSEN:
            raise Refused("set", _("At most %(most)d jobs can be chosen one by one.") % {"most": MOST_CHOSEN})
        if self.state and self.state not in State.values:
            raise Refused("set", _("There is no such state."))

    def _draft(self, action: Action) -> Bulk:
        latest = Job.objects.filter(cluster=self.cluster_id).aggregate(latest=Max("id"))["latest"]
        return Bulk.objects.create(
            cluster_id=self.cluster_id,
            deed=Deed(self.deed),
            user=action.user,
            who=action.who,
            filter=None if self.jobs else orjson.dumps(self.filter).decode(),
            bound=latest or 0,
            made_at=action.at,
            asked=action,
        )


def _is_possible(moment: datetime) -> bool:
    """Whether each zone can express it."""
    return EARLIEST <= in_utc(moment) <= LATEST


def _as_field(moment: datetime | None) -> str | None:
    """As a field of a form has it."""
    return None if moment is None else in_utc(moment).astimezone(UTC).replace(tzinfo=None).isoformat()


@dataclass(frozen=True)
class OfABulk:
    """What a command about one bulk begins with."""

    bulk: int

    def subject(self, user: User) -> Subject:
        return _subject_of(_find(self.bulk, user))


@registered
@dataclass(frozen=True)
class BulkStart(OfABulk):
    """Do what was previewed to the frozen set, so many jobs a second (`rate`).

    It stops by itself when more than `stop_share` (0 to 1) of what was retried
    fails again. Above 100 jobs, `confirm` is their number, and there is a reason.
    """

    name: ClassVar[str] = "bulk.start"
    permission: ClassVar[str] = "act_in_bulk"
    rate: float = 50.0
    stop_share: float = 0.5
    confirm: int | None = None

    def execute(self, action: Action) -> Settled:
        bulk = _locked(self.bulk)
        _need(_who(action), DEEDS[bulk.deed].permission)
        self._refuse_unready(bulk, action.at)
        self._refuse_unsure(bulk, action.reason)
        Bulk.objects.filter(pk=bulk.pk).update(
            state=BulkState.RUNNING,
            started_at=action.at,
            rate=self.rate,
            stop_share=self.stop_share,
            reason=action.reason,
            action=action,
        )
        return Settled(count=bulk.eligible)

    def _refuse_unready(self, bulk: Bulk, now: datetime) -> None:
        if bulk.state != BulkState.DRAFT:
            raise Refused("state", _("It was begun already."))
        if bulk.frozen_at is None:
            raise Refused("gathering", _("Its set is still being gathered."))
        if now - bulk.made_at > STALE_AFTER:
            raise Refused("stale", _("This preview is more than an hour old: look again."))
        if not bulk.eligible:
            raise Refused("nothing", _("There is nothing in this set that it could be done to."))

    def _refuse_unsure(self, bulk: Bulk, reason: str) -> None:
        if not LOWEST_RATE <= self.rate <= HIGHEST_RATE:
            bounds = {"lowest": LOWEST_RATE, "highest": HIGHEST_RATE}
            raise Refused("rate", _("The rate must be %(lowest)g to %(highest)g jobs a second.") % bounds)
        if not 0 <= self.stop_share <= 1:
            raise Refused("stop_share", _("The share of failures at which it stops must be 0 to 1."))
        if bulk.eligible > TYPED_ABOVE and self.confirm != bulk.eligible:
            raise Refused("confirm", _("To confirm, give the number of jobs: %(n)d.") % {"n": bulk.eligible})
        if bulk.eligible > TYPED_ABOVE and not reason:
            raise Refused("reason", _("Above %(n)d jobs, a reason is needed.") % {"n": TYPED_ABOVE})


@registered
@dataclass(frozen=True)
class BulkPause(OfABulk):
    """Act on no more of them, until somebody goes on."""

    name: ClassVar[str] = "bulk.pause"
    permission: ClassVar[str] = "act_in_bulk"

    def execute(self, action: Action) -> Settled:
        return _moved(_locked(self.bulk), {BulkState.RUNNING}, BulkState.PAUSED)


@registered
@dataclass(frozen=True)
class BulkResume(OfABulk):
    """Go on where it was paused."""

    name: ClassVar[str] = "bulk.resume"
    permission: ClassVar[str] = "act_in_bulk"

    def execute(self, action: Action) -> Settled:
        bulk = _locked(self.bulk)
        _need(_who(action), DEEDS[bulk.deed].permission)
        return _moved(bulk, {BulkState.PAUSED}, BulkState.RUNNING)


@registered
@dataclass(frozen=True)
class BulkAbort(OfABulk):
    """End it: what was done stays done, nothing more is. Of a preview that was not begun, nothing is left."""

    name: ClassVar[str] = "bulk.abort"
    permission: ClassVar[str] = "act_in_bulk"

    def execute(self, action: Action) -> Settled:
        bulk = _locked(self.bulk)
        if bulk.is_over:
            raise Refused("state", _("It is over already."))
        end(bulk, BulkState.ABORTED, _("Ended by %(who)s.") % {"who": action.who})
        return Settled(Outcome.DONE, after={"state": BulkState.ABORTED, **_come_to(bulk)}, count=bulk.left)


def _moved(bulk: Bulk, allowed: set[BulkState], state: BulkState) -> Settled:
    if bulk.state not in allowed:
        raise Refused("state", _("It is %(state)s.") % {"state": bulk.get_state_display().lower()})
    Bulk.objects.filter(pk=bulk.pk).update(state=state)
    return Settled(Outcome.DONE, after={"state": state, **_come_to(bulk)}, count=bulk.left)


def _find(number: int, user: User) -> Bulk:
    """The bulk, if `user` may see it. Raises Refused("missing")."""
    found = bulks.visible_to(user).filter(pk=number).first()
    if found is None:
        raise Refused("missing", _("There is no such bulk action."))
    return found


def _locked(number: int) -> Bulk:
    """The bulk as it stands; nobody else changes it in the transaction at hand."""
    return Bulk.objects.select_for_update().get(pk=number)


def _subject_of(bulk: Bulk) -> Subject:
    preview = Preview.read(bulk.preview)
    return Subject(
        "bulk",
        str(bulk.pk),
        task=only(preview.tasks),
        queue=only(preview.queues),
        before={"deed": bulk.deed, "state": bulk.state, "eligible": bulk.eligible, **_come_to(bulk)},
        count=bulk.left,
        cluster_id=bulk.cluster.pk,
        each=True,
    )


def _come_to(bulk: Bulk) -> dict[str, Any]:
    return {"done": bulk.done, "refused": bulk.refused, "failed": bulk.failed, "left": bulk.left}


def _who(action: Action) -> User:
    assert action.user is not None
    return action.user


def _need(user: User, permission: str) -> None:
    """Raises Refused if `user` lacks what the deed itself takes."""
    if lack := lacking(user, permission):
        raise lack
