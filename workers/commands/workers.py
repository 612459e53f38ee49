"""What people do to workers: orders to one, of which its answer or its next signs of life tell what became.

`hindrance` decides, from what the worker told of itself, what it can't do.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar

from django.utils.translation import gettext as _

from jobs.liveness import queues_of, worker_state
from jobs.models import Action, Cluster, Pause, Worker
from jobs.orders import order
from jobs.perform import Refused, Settled, Subject, registered
from jobs.scopes import scope_of
from jobs.trust import read_trust
from jobs.values import NAME_LENGTH
from jobs.worker_facts import Setup, setup_of

if TYPE_CHECKING:
    from django.contrib.auth.models import User

GREEN = ("gevent", "eventlet")
MOST_SLOTS = 1_000
LONGEST_LIMIT = 366 * 86_400.0
RATE = re.compile(r"\d{1,6}(\.\d{1,3})?(/[smh])?")


def find_worker(name: str, cluster_id: int) -> Worker | None:
    """The newest incarnation of this name."""
    return Worker.objects.filter(cluster=cluster_id, name=name).order_by("-seen_at", "-pk").first()


def hindrance(method: str, worker: Worker) -> str | None:
    """Why this worker can't follow a command; None if it can, or if it isn't known."""
    setup = setup_of(worker.setup) or Setup()
    if setup.pool is None:
        return None
    return _HINDRANCES[method](setup) if method in _HINDRANCES else None


def _no_growing(setup: Setup) -> str | None:
    if setup.autoscale:
        return _("Its size is autoscaled: change the range instead.")
    if setup.pool not in ("prefork", *GREEN):
        return _("A pool of %(pool)s can't change its size.") % {"pool": setup.pool}
    return None


def _no_autoscale(setup: Setup) -> str | None:
    return _("It was started without --autoscale.") if setup.autoscale is False else None


def _no_restart(setup: Setup) -> str | None:
    if setup.pool != "prefork":
        return _("A pool of %(pool)s can't be restarted: only prefork can.") % {"pool": setup.pool}
    if setup.pool_restarts is False:
        return _("It was started without worker_pool_restarts.")
    return None


def _no_time_limits(setup: Setup) -> str | None:
    if setup.pool not in ("prefork", *GREEN):
        return _("A pool of %(pool)s has no time limits.") % {"pool": setup.pool}
    return None


_HINDRANCES = {
    "pool_grow": _no_growing,
    "pool_shrink": _no_growing,
    "autoscale": _no_autoscale,
    "pool_restart": _no_restart,
    "time_limit": _no_time_limits,
}


@dataclass(frozen=True)
class ToAWorker:
    """What a command to one worker begins with: its node name."""

    name: ClassVar[str]
    permission: ClassVar[str]
    method: ClassVar[str]
    worker: str
    cluster_id: int = field(default=Cluster.DEFAULT_ID, kw_only=True)

    def celerys(self) -> str:
        """Celery's own name for it."""
        return self.method

    def arguments(self) -> dict[str, Any]:
        """Those of Celery's control command. Raises Refused for what makes no sense."""
        return {}

    def refuse(self, worker: Worker) -> None:
        """Raise Refused where `worker` stands in the way."""

    def of(self) -> tuple[str | None, str | None]:
        """The task and the queue that it is about, by which a reach is measured."""
        return None, None

    def subject(self, user: User) -> Subject:
        worker = find_worker(self.worker, self.cluster_id)
        if worker is None or scope_of(user) is None:
            raise Refused("missing", _("No such worker is known."))
        before = {"incarnation": worker.pk, "slots": worker.slots, "queues": queues_of(worker)}
        task, queue = self.of()
        return Subject("worker", worker.name, task, queue, before, cluster_id=self.cluster_id)

    def execute(self, action: Action) -> Settled:
        worker = find_worker(self.worker, self.cluster_id)
        assert worker is not None
        if worker_state(worker, read_trust(self.cluster_id, datetime.now(UTC)).as_of) in ("dead", "retired"):
            raise Refused("offline", _("It is not online."))
        if why := hindrance(self.celerys(), worker):
            raise Refused("pool", why)
        self.refuse(worker)
        order(action, worker.name, self.celerys(), self.arguments())
        return Settled()


@registered
@dataclass(frozen=True)
class Shutdown(ToAWorker):
    """Have a worker leave, once what it runs has ended. Nothing starts it again but its own supervisor."""

    name: ClassVar[str] = "worker.shutdown"
    permission: ClassVar[str] = "stop_worker"
    method: ClassVar[str] = "shutdown"


@registered
@dataclass(frozen=True)
class RestartPool(ToAWorker):
    """Have a worker replace its pool's processes, once what they run has ended."""

    name: ClassVar[str] = "worker.restart-pool"
    permission: ClassVar[str] = "stop_worker"
    method: ClassVar[str] = "pool_restart"


@dataclass(frozen=True)
class _Resize(ToAWorker):
    by: int = 1

    def arguments(self) -> dict[str, Any]:
        if not 1 <= self.by <= MOST_SLOTS:
            raise Refused("number", _("The number of slots should be between 1 and 1,000."))
        return {"n": self.by}


@registered
@dataclass(frozen=True)
class Grow(_Resize):
    """Give a worker `by` slots more."""

    name: ClassVar[str] = "worker.grow"
    permission: ClassVar[str] = "tune_worker"
    method: ClassVar[str] = "pool_grow"


@registered
@dataclass(frozen=True)
class Shrink(_Resize):
    """Take `by` slots from a worker; one is left at least. It refuses while all of them are busy."""

    name: ClassVar[str] = "worker.shrink"
    permission: ClassVar[str] = "tune_worker"
    method: ClassVar[str] = "pool_shrink"

    def refuse(self, worker: Worker) -> None:
        if worker.slots is not None and self.by >= worker.slots:
            raise Refused("number", _("It has %(slots)s slots: one is to be left.") % {"slots": worker.slots})


@registered
@dataclass(frozen=True)
class Autoscale(ToAWorker):
    """Set the range in which a worker scales its pool by itself."""

    name: ClassVar[str] = "worker.autoscale"
    permission: ClassVar[str] = "tune_worker"
    method: ClassVar[str] = "autoscale"
    least: int
    most: int

    def arguments(self) -> dict[str, Any]:
        if not 0 <= self.least <= self.most <= MOST_SLOTS or self.most == 0:
            raise Refused("number", _("The range should go from 0 or more up to 1,000 at most."))
        return {"min": self.least, "max": self.most}


@dataclass(frozen=True)
class _Consumer(ToAWorker):
    queue: str

    def of(self) -> tuple[str | None, str | None]:
        return None, self.queue

    def arguments(self) -> dict[str, Any]:
        if not 0 < len(self.queue) <= NAME_LENGTH or not self.queue.isprintable():
            raise Refused("queue", _("A queue has a name of 1 to 255 characters."))
        return {"queue": self.queue}

    def refuse(self, worker: Worker) -> None:
        if Pause.objects.filter(cluster=self.cluster_id, queue=self.queue, resumed_at=None).exists():
            raise Refused("paused", _("The queue is paused, so that no worker reads it: resume it first."))


@registered
@dataclass(frozen=True)
class AddConsumer(_Consumer):
    """Have a worker read one queue more."""

    name: ClassVar[str] = "worker.add-consumer"
    permission: ClassVar[str] = "tune_worker"
    method: ClassVar[str] = "add_consumer"


@registered
@dataclass(frozen=True)
class CancelConsumer(_Consumer):
    """Have a worker read a queue no more, until it is started again."""

    name: ClassVar[str] = "worker.cancel-consumer"
    permission: ClassVar[str] = "tune_worker"
    method: ClassVar[str] = "cancel_consumer"

    def refuse(self, worker: Worker) -> None:
        super().refuse(worker)
        if worker.queues is not None and self.queue not in queues_of(worker):
            raise Refused("queue", _("It does not read this queue."))


@dataclass(frozen=True)
class _OfATask(ToAWorker):
    task: str

    def of(self) -> tuple[str | None, str | None]:
        return self.task, None

    def arguments(self) -> dict[str, Any]:
        if not 0 < len(self.task) <= NAME_LENGTH:
            raise Refused("task", _("Name a task."))
        return {"task_name": self.task}


@registered
@dataclass(frozen=True)
class RateLimit(_OfATask):
    """Have a worker start at most so many jobs of a task: "10/s", "100/m", "2/h"; "0" for no limit."""

    name: ClassVar[str] = "task.rate-limit"
    permission: ClassVar[str] = "tune_worker"
    method: ClassVar[str] = "rate_limit"
    rate: str

    def arguments(self) -> dict[str, Any]:
        named = super().arguments()
        if not RATE.fullmatch(self.rate):
            raise Refused("rate", _("A rate is a number by s, m or h, such as 100/m; 0 is no limit."))
        return {**named, "rate_limit": self.rate}


@registered
@dataclass(frozen=True)
class TimeLimits(_OfATask):
    """Set how long a job of a task may run on a worker, in seconds; None for no limit."""

    name: ClassVar[str] = "task.time-limits"
    permission: ClassVar[str] = "tune_worker"
    method: ClassVar[str] = "time_limit"
    soft: float | None = None
    hard: float | None = None

    def arguments(self) -> dict[str, Any]:
        named = super().arguments()
        given = [limit for limit in (self.soft, self.hard) if limit is not None]
        if any(not 0 < limit <= LONGEST_LIMIT for limit in given) or given != sorted(given):
            raise Refused("limits", _("A limit is above 0 s, and the soft one not above the hard one."))
        return {**named, "soft": self.soft, "hard": self.hard}

    def refuse(self, worker: Worker) -> None:
        setup = setup_of(worker.setup)
        if self.soft is not None and setup is not None and setup.pool in GREEN:
            raise Refused("pool", _("A pool of %(pool)s has no soft limits.") % {"pool": setup.pool})


@registered
@dataclass(frozen=True)
class Events(ToAWorker):
    """Have a worker send events of its jobs, or none. Without them the record does not hear of its jobs."""

    name: ClassVar[str] = "worker.events"
    permission: ClassVar[str] = "tune_worker"
    method: ClassVar[str] = "enable_events"
    on: bool

    def celerys(self) -> str:
        return self.method if self.on else "disable_events"
