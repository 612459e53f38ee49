"""What people do to jobs: retry one as it was, run it again edited, revoke it, end it while it runs."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar

from django.conf import settings
from django.utils.translation import gettext as _

from jobs import access, dead_letters
from jobs.models import Action, Cluster, Job, Payload, Revocation, Visible
from jobs.outbox import Message, put
from jobs.perform import Refused, Settled, Subject, registered
from jobs.values import read_json
from workers.eligibility import (
    is_whole,
    signals_of,
    why_not_rerun,
    why_not_retry,
    why_not_revoke,
    why_not_terminate,
    worker_of,
)
from workers.messages import Wanted, body_of, message_of, retry_message
from workers.second_lives import why_not_now
from workers.signatures import own_task_names, route_of, why_unfit

if TYPE_CHECKING:
    from django.contrib.auth.models import User

# A wish of one of these on a job is true when the job is revoked.
REVOKING = ("job.revoke", "job.terminate")
LOWEST_PRIORITY, HIGHEST_PRIORITY = 0, 9


def embedded(payload: Payload | None) -> dict[str, Any]:
    """What was to follow a job (callbacks, chain, chord), as far as its body was kept."""
    return (_sent(payload) or ([], {}, {}))[2]


def _sent(payload: Payload | None) -> tuple[list[Any], dict[str, Any], dict[str, Any]] | None:
    """args, kwargs and what was to follow, as they were sent; None where no body was kept that tells them."""
    try:
        args, kwargs, embed = read_json((payload and payload.body) or "")
    except (ValueError, TypeError):
        return None
    whole = isinstance(args, list) and isinstance(kwargs, dict) and isinstance(embed or {}, dict)
    return (args, kwargs, embed or {}) if whole else None


def find(task_id: str, cluster_id: int, user: User) -> Job:
    """The job, if `user` may see it. Raises Refused("missing")."""
    return _first(Job.objects.visible_to(user).filter(cluster=cluster_id, task_id=task_id))


def _first(jobs: Visible) -> Job:
    job: Job | None = jobs.first()
    if job is None:
        raise Refused("missing", _("No such job is recorded."))
    return job


def payload_of(job: Job) -> Payload | None:
    """What the job carries: much, and read only where it is asked for."""
    found: Payload | None = getattr(job, "payload", None)
    return found


def ask_to_revoke(job: Job, action: Action, *, terminate: bool = False, signal: str = "SIGTERM") -> None:
    """Wish that this job shall not run (any more), in the transaction at hand."""
    wish = {"terminate": terminate, "signal": signal, "asked_at": datetime.now(UTC), "action": action}
    row = Revocation(cluster_id=job.cluster_id, task_id=job.task_id, **wish)
    Revocation.objects.bulk_create(
        [row],
        update_conflicts=True,
        unique_fields=["cluster", "task_id"],
        update_fields=[*wish, "told_at"],
    )


@dataclass(frozen=True)
class OfAJob:
    """What a command about one job begins with."""

    task_id: str
    cluster_id: int = Cluster.DEFAULT_ID

    def job(self) -> Job:
        """The job, as it stands in the transaction at hand. Raises Refused("missing")."""
        return _first(Job.objects.filter(cluster=self.cluster_id, task_id=self.task_id))

    def subject(self, user: User) -> Subject:
        return subject_of(find(self.task_id, self.cluster_id, user))


def subject_of(job: Job, **before: Any) -> Subject:
    return Subject(
        "job",
        job.task_id,
        task=job.task,
        queue=job.queue,
        before={"state": job.state, **before},
        cluster_id=job.cluster_id or Cluster.DEFAULT_ID,
    )


@registered
@dataclass(frozen=True)
class Retry(OfAJob):
    """Publish what a job carried once more, byte for byte, as a new job."""

    name: ClassVar[str] = "job.retry"
    permission: ClassVar[str] = "retry_job"

    def execute(self, action: Action) -> Settled:
        Job.objects.select_for_update().get(pk=self.job().pk)  # two who ask at once come one after the other
        job = self.job()
        payload = payload_of(job)
        if hindrance := why_not_retry(job, payload) or why_not_now(job):
            raise hindrance
        assert payload is not None
        new_id = str(uuid.uuid4())
        put(retry_message(job, payload, new_id), action)
        dead_letters.retried({job.pk: new_id}, action)
        return Settled(after={"task_id": new_id})


@registered
@dataclass(frozen=True)
class Rerun(OfAJob):
    """Publish a job's task once more, as a new job, with other arguments or to another queue.

    What is None stays as it was. `eta` is when to run it at the earliest.
    """

    name: ClassVar[str] = "job.rerun"
    permission: ClassVar[str] = "retry_job"
    args: list[Any] | None = None
    kwargs: dict[str, Any] | None = None
    queue: str | None = None
    priority: int | None = None
    eta: datetime | None = None

    def subject(self, user: User) -> Subject:
        job = find(self.task_id, self.cluster_id, user)
        _refuse_beyond_reach(user, job.task, self.queue)
        if not access.has(user, "view_payload"):
            return subject_of(job)
        return subject_of(job, args=_recorded(job, "args"), kwargs=_recorded(job, "kwargs"))

    def execute(self, action: Action) -> Settled:
        job = self.job()
        if hindrance := why_not_rerun(job):
            raise hindrance
        _refuse_priority(self.priority)
        args, kwargs = self._carried(job)
        if why := why_unfit(job.task or "", args, kwargs):
            raise Refused("arguments", why)
        new_id = str(uuid.uuid4())
        put(self._message(job, args, kwargs, new_id), action)
        return Settled(after={"task_id": new_id})

    def _carried(self, job: Job) -> tuple[list[Any], dict[str, Any]]:
        """The arguments to send: as given, else as they were."""
        exact = exact_arguments(payload_of(job))
        if exact is None and (self.args is None or self.kwargs is None):
            raise Refused("withheld", _("Its own arguments are not known whole: give all of them."))
        was = exact or ([], {})
        return (was[0] if self.args is None else self.args), (was[1] if self.kwargs is None else self.kwargs)

    def _message(self, job: Job, args: list[Any], kwargs: dict[str, Any], new_id: str) -> Message:
        queue = self.queue or job.queue
        if not queue or not is_whole(queue):
            raise Refused("unknown", _("Its queue is not known: name one."))
        return message_of(
            Wanted(
                task_id=new_id,
                task=job.task or "",
                queue=queue,
                body=_body(args, kwargs, embedded(payload_of(job))),
                priority=job.priority if self.priority is None else self.priority,
                eta=self.eta,
                root_id=job.root_id,
                retry_of=job.task_id,
            )
        )


def _body(args: list[Any], kwargs: dict[str, Any], embed: dict[str, Any] | None = None) -> str:
    """The message's body. Raises Refused for what JSON can't carry, and for too much of it."""
    try:
        body = body_of(args, kwargs, embed)
    except (TypeError, ValueError) as fault:
        raise Refused("arguments", _("JSON can't carry these: %(fault)s.") % {"fault": fault}) from None
    if len(body) > settings.JOB_BODY_CAP:
        cap = f"{settings.JOB_BODY_CAP:,}"
        raise Refused("arguments", _("These are over the cap of %(cap)s bytes.") % {"cap": cap})
    return body


def exact_arguments(payload: Payload | None) -> tuple[list[Any], dict[str, Any]] | None:
    """The arguments as they were sent; None where they are not known whole."""
    sent = _sent(payload)
    return None if sent is None else sent[:2]


def _recorded(job: Job, name: str) -> Any:
    """Arguments as the record shows them, cleaned; as a text where that is no JSON."""
    text = getattr(payload_of(job), name, None)
    try:
        return None if text is None else read_json(text)
    except ValueError:
        return text


def _refuse_beyond_reach(user: User, task: str | None, queue: str | None) -> None:
    """A command that leads to another queue needs to reach that one, too."""
    if queue is not None and not access.reaches(access.spans_of(user), task, queue):
        raise Refused("reach", _("This queue or task is beyond your reach."))


def _refuse_priority(priority: int | None) -> None:
    """Brokers have no others, and the record has no room for any number."""
    if priority is not None and not LOWEST_PRIORITY <= priority <= HIGHEST_PRIORITY:
        bounds = {"lowest": LOWEST_PRIORITY, "highest": HIGHEST_PRIORITY}
        raise Refused("priority", _("The priority must be %(lowest)d to %(highest)d.") % bounds)


@registered
@dataclass(frozen=True)
class Revoke(OfAJob):
    """Wish that a job does not begin (again). What runs goes on."""

    name: ClassVar[str] = "job.revoke"
    permission: ClassVar[str] = "revoke_job"

    def execute(self, action: Action) -> Settled:
        job = self.job()
        if hindrance := why_not_revoke(job):
            raise hindrance
        if Revocation.objects.filter(cluster=job.cluster_id, task_id=job.task_id).exists():
            raise Refused("asked", _("It is being revoked already."))
        ask_to_revoke(job, action)
        return Settled()


@registered
@dataclass(frozen=True)
class Terminate(OfAJob):
    """End a running job by a signal to the process that runs it; it will not begin again."""

    name: ClassVar[str] = "job.terminate"
    permission: ClassVar[str] = "terminate_job"
    signal: str = "SIGTERM"

    def execute(self, action: Action) -> Settled:
        job = self.job()
        worker = worker_of(job)
        if hindrance := why_not_terminate(job, worker, datetime.now(UTC)):
            raise hindrance
        assert worker is not None
        if self.signal not in signals_of(worker):
            raise Refused("signal", _("Its worker can't end a job by %(signal)s.") % {"signal": self.signal})
        ask_to_revoke(job, action, terminate=True, signal=self.signal)
        return Settled()


@registered
@dataclass(frozen=True)
class Run:
    """Publish a job of any task that is registered here. Without a queue it goes where the routes say."""

    name: ClassVar[str] = "task.run"
    permission: ClassVar[str] = "run_task"
    task: str
    args: list[Any] = field(default_factory=list)
    kwargs: dict[str, Any] = field(default_factory=dict)
    queue: str | None = None
    priority: int | None = None
    eta: datetime | None = None

    def subject(self, user: User) -> Subject:
        if self.task not in own_task_names():
            raise Refused("missing", _("No such task is registered here."))
        return Subject("task", self.task, task=self.task, queue=self._queue())

    def execute(self, action: Action) -> Settled:
        _refuse_priority(self.priority)
        if why := why_unfit(self.task, self.args, self.kwargs):
            raise Refused("arguments", why)
        new_id = str(uuid.uuid4())
        wanted = Wanted(
            task_id=new_id,
            task=self.task,
            queue=self._queue(),
            body=_body(self.args, self.kwargs),
            priority=self.priority,
            eta=self.eta,
        )
        put(message_of(wanted), action)
        return Settled(after={"task_id": new_id})

    def _queue(self) -> str:
        return self.queue or route_of(self.task, self.args, self.kwargs)
