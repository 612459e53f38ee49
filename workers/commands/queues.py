"""What people do to queues: let one stand still, have it read again, delete what waits in it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from django.conf import settings
from django.utils.translation import gettext as _

from jobs.models import Action, Cluster, Order, Pause, QueueSample, Worker
from jobs.models.people import Outcome
from jobs.orders import PURGE, order
from jobs.perform import Refused, Settled, Subject, registered, settle
from jobs.scopes import Scope, scope_of
from jobs.values import NAME_LENGTH
from workers.brokers import can_purge

if TYPE_CHECKING:
    from django.contrib.auth.models import User

# A queue that was not sampled for so long is not known any more.
KNOWN_FOR = timedelta(hours=24)
LONGEST_PAUSE = timedelta(days=366)


@dataclass(frozen=True)
class OfAQueue:
    """What a command about one queue begins with."""

    queue: str
    cluster_id: int = field(default=Cluster.DEFAULT_ID, kw_only=True)

    def subject(self, user: User) -> Subject:
        scope = scope_of(user)
        if scope is None or not is_known(self.queue, self.cluster_id, scope):
            raise Refused("missing", _("No such queue is known."))
        before = {**_pause_told(self.pause()), "waiting": _latest_depth(self.queue, self.cluster_id)}
        return Subject("queue", self.queue, queue=self.queue, before=before, cluster_id=self.cluster_id)

    def pause(self) -> Pause | None:
        """Its pause, also one that is being lifted."""
        return Pause.objects.filter(cluster=self.cluster_id, queue=self.queue).first()


@registered
@dataclass(frozen=True)
class PauseQueue(OfAQueue):
    """Have no worker read a queue, also none that starts later: until a moment, for some seconds, or ever.

    A job that a worker has taken already runs to its end.
    """

    name: ClassVar[str] = "queue.pause"
    permission: ClassVar[str] = "pause_queue"
    until: datetime | None = None
    lasts: float | None = None

    def execute(self, action: Action) -> Settled:
        before = self.pause()
        if before is not None and before.resumed_at is None:
            raise Refused("paused", _("%(who)s has paused it already.") % {"who": before.who})
        if before is not None and before.resumed_by is not None:
            settle(before.resumed_by, Settled(Outcome.FAILED, detail=_("Paused again meanwhile.")))
        until = self._ends_at(action.at)
        Pause.objects.update_or_create(
            cluster_id=self.cluster_id,
            queue=self.queue,
            defaults={
                "who": action.who,
                "reason": action.reason,
                "since": action.at,
                "until": until,
                "action": action,
                "reading": None,
                "looked_at": None,
                "resumed_at": None,
                "resumed_by": None,
            },
        )
        return Settled(after={"paused": True, "until": until})

    def _ends_at(self, now: datetime) -> datetime | None:
        if self.lasts is not None and 0 < self.lasts <= LONGEST_PAUSE.total_seconds():
            return now + timedelta(seconds=self.lasts)
        if self.lasts is None and self.until is None:
            return None
        until = self.until or now
        aware = until if until.tzinfo else until.replace(tzinfo=UTC)
        if self.lasts is not None or not now < aware <= now + LONGEST_PAUSE:
            raise Refused("until", _("The end of a pause should lie ahead, within a year."))
        return aware


@registered
@dataclass(frozen=True)
class ResumeQueue(OfAQueue):
    """Have the workers read a queue again that read it before."""

    name: ClassVar[str] = "queue.resume"
    permission: ClassVar[str] = "pause_queue"

    def execute(self, action: Action) -> Settled:
        before = self.pause()
        if before is None or before.resumed_at is not None:
            raise Refused("not_paused", _("It is not paused."))
        before.resumed_at, before.resumed_by = action.at, action
        before.save(update_fields=["resumed_at", "resumed_by"])
        return Settled(after={"paused": False})


@registered
@dataclass(frozen=True)
class PurgeQueue(OfAQueue):
    """Delete all messages that wait in a queue. `confirm` is its name, typed once more.

    What workers hold already is not deleted. The jobs end as revoked.
    """

    name: ClassVar[str] = "queue.purge"
    permission: ClassVar[str] = "purge_queue"
    confirm: str

    def execute(self, action: Action) -> Settled:
        if self.confirm != self.queue:
            raise Refused("confirm", _("To confirm, type the name of the queue."))
        if not can_purge(settings.CELERY_BROKER_URL):
            raise Refused(
                "broker", _("This broker can't say which jobs it would delete: purge with its own tools.")
            )
        if Order.objects.filter(
            method=PURGE, action__target=self.queue, answered_at=None, cluster=self.cluster_id
        ).exists():
            raise Refused("asked", _("It is being purged already."))
        order(action, None, PURGE, {"queue": self.queue})
        return Settled(count=None)


def is_known(queue: str, cluster_id: int, scope: Scope) -> bool:
    """Whether this queue was ever declared or seen lately, and `scope` shows anything of it."""
    if not 0 < len(queue) <= NAME_LENGTH or not scope.covers_queue(queue):
        return False
    if queue in settings.QUEUES or Pause.objects.filter(cluster=cluster_id, queue=queue).exists():
        return True
    return _was_sampled(queue, cluster_id) or _is_read(queue, cluster_id)


def _was_sampled(queue: str, cluster_id: int) -> bool:
    return bool(_samples(queue, cluster_id).exists())


def _samples(queue: str, cluster_id: int) -> Any:
    since = datetime.now(UTC) - KNOWN_FOR
    return QueueSample.objects.filter(cluster=cluster_id, queue=queue, at__gte=since)


def _is_read(queue: str, cluster_id: int) -> bool:
    told = Worker.objects.filter(cluster=cluster_id, offline_at=None, queues__contains=queue)
    return any(queue in (worker.queues or "").split(",") for worker in told[:1000])


def _latest_depth(queue: str, cluster_id: int) -> int | None:
    found: int | None = _samples(queue, cluster_id).order_by("-at").values_list("depth", flat=True).first()
    return found


def _pause_told(pause: Pause | None) -> dict[str, Any]:
    if pause is None or pause.resumed_at is not None:
        return {"paused": False}
    return {"paused": True, "by": pause.who, "until": pause.until}
