"""Jobs that will not go on by themselves, as far as the record can know. Pure; docs/adrift.md has the words.

* orphaned: taken by a worker process that is gone. From the signs of life of its incarnations.
* stuck: runs on a worker that lives, beyond the limit that the worker told, or far beyond what its task's
  buckets show as usual.
* lost: still queued, though its queue was seen empty after any holder must have given it back, and
  others that came later were taken: its message is gone.

A false alarm is worse than a late one: whatever is not known makes no finding.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, get_args

from jobs.liveness import WORKER_DEAD_AFTER, WorkerState, queues_of, seconds_since, worker_state
from jobs.models import State, Worker
from jobs.values import QUEUES_LENGTH
from jobs.worker_facts import Setup, setup_of
from jobs.worker_limits import can_enforce

# The worst first.
What = Literal["orphaned", "lost", "stuck"]
WHATS: tuple[What, ...] = get_args(What)
# What comes next: handed out again (about `again_at`, where that is known); that was due and did not
# happen; nothing, since it was acknowledged when it began, or since no message is left; or it still runs.
Next = Literal["again", "overdue", "never", "gone", "runs", "unknown"]

# Silence of a worker, until the jobs that it holds are told; seconds, as all below.
ORPHANED_AFTER = 60.0
# A worker says goodbye before its last jobs have ended; its successor often waits for that.
LEFT_GRACE = 3600.0
FOLLOWED_GRACE = 600.0
# Pools that may say nothing while a job keeps them busy.
DEAF_POOLS = frozenset({"solo", "gevent", "eventlet"})
# Clocks: a receipt may seem to be a little older than the process that tells of it.
CLOCKS_DIFFER = 1.0
REDELIVERY_GRACE = 600.0

LIMIT_GRACE = 120.0
STUCK_FACTOR, STUCK_AT_LEAST = 10.0, 600.0
# So many jobs must have ended before one can tell what is usual.
USUAL_COUNT = 50

# After the longest time that a holder may keep a message, it has to be back in its queue by now.
LOST_GRACE = 900.0
# What was taken from the queue must have reached the record since.
SETTLED_AFTER = 60.0
# How long RabbitMQ lets a worker hold a message, where no queue says otherwise.
CONSUMER_TIMEOUT = 1800.0


@dataclass(frozen=True)
class OpenJob:
    """What has to be known of a job that has not ended."""

    id: int
    task_id: str
    task: str | None
    queue: str | None
    state: str
    worker: str | None = None
    attempts: int = 0
    published_at: datetime | None = None
    eta: datetime | None = None
    received_at: datetime | None = None
    started_at: datetime | None = None

    @property
    def taken_at(self) -> datetime | None:
        """When a worker took it."""
        return self.received_at or self.started_at


@dataclass(frozen=True)
class Finding:
    """What a job is, since when, and what comes next; `usual` is seconds, of a job that is stuck."""

    what: What
    since: datetime
    next: Next = "unknown"
    again_at: datetime | None = None
    usual: float | None = None


@dataclass(frozen=True)
class Usual:
    """How long jobs of a task usually run: the 99th percentile in seconds, of so many."""

    p99: float | None = None
    count: int = 0

    @property
    def known(self) -> float | None:
        return self.p99 if self.count >= USUAL_COUNT else None


@dataclass(frozen=True)
class QueueEvidence:
    """What can be said of a queue, and of the record since its job was published.

    `emptied_at`: when it was last seen empty. `readers`: each incarnation that may have read it since then,
    with its state. `complete`: no event is known to be missing since. `passed`: a job that was published
    later was taken.
    """

    emptied_at: datetime | None
    readers: Sequence[tuple[Worker, WorkerState]]
    paused: bool
    complete: bool
    passed: bool


# Orphaned


def orphaned(job: OpenJob, incarnations: Iterable[Worker], as_of: datetime) -> Finding | None:
    """Whether the process that took it is gone; `incarnations` are those of its worker's name."""
    known = list(incarnations)
    holders = holders_of(job, known)
    if not holders or any(gone_since(one, known, as_of) is None for one in holders):
        return None
    holder = max(holders, key=_began)
    since = gone_since(holder, known, as_of)
    assert since is not None
    return _with_what_comes_next(job, holder, since, as_of)


def holders_of(job: OpenJob, incarnations: Iterable[Worker]) -> list[Worker]:
    """The processes that may have taken it: those that were there when it was taken."""
    taken = job.taken_at
    if taken is None or job.state not in (State.RECEIVED, State.RUNNING):
        return []
    slack = timedelta(seconds=CLOCKS_DIFFER)
    there = [one for one in incarnations if one.name == job.worker and _began(one) <= taken + slack]
    return [one for one in there if not _had_gone(one, taken)] or sorted(there, key=_began)[-1:]


def _had_gone(worker: Worker, taken: datetime) -> bool:
    if worker.offline_at is not None:
        return worker.offline_at < taken
    return seconds_since(worker.seen_at, taken) > WORKER_DEAD_AFTER


def _began(worker: Worker) -> datetime:
    return worker.online_at or worker.seen_at


def gone_since(worker: Worker, incarnations: Iterable[Worker], as_of: datetime) -> datetime | None:
    """When this process was last heard, if it is surely gone by now; None if it may still be at work."""
    followed = any(_follows(one, worker, as_of) for one in incarnations)
    if worker.offline_at is not None:
        grace = FOLLOWED_GRACE if followed else LEFT_GRACE
        return worker.offline_at if seconds_since(worker.offline_at, as_of) > grace else None
    if worker_state(worker, as_of) != "dead" or seconds_since(worker.seen_at, as_of) <= ORPHANED_AFTER:
        return None
    return worker.seen_at if followed or not _may_be_deaf(worker) else None


def _follows(one: Worker, before: Worker, as_of: datetime) -> bool:
    """Whether it came under the same name after the other was last heard, and is there."""
    later = one.name == before.name and _began(one) > before.seen_at
    return later and worker_state(one, as_of) == "online"


def _may_be_deaf(worker: Worker) -> bool:
    setup = setup_of(worker.setup)
    return setup is None or setup.pool is None or setup.pool in DEAF_POOLS


def _with_what_comes_next(job: OpenJob, holder: Worker, since: datetime, as_of: datetime) -> Finding:
    setup = setup_of(holder.setup) or Setup()
    kept = True if job.state == State.RECEIVED else acknowledged_late(job.task, setup)
    if kept is False:
        return Finding("orphaned", since, "never")
    if not kept or holder.offline_at is not None or setup.transport is None:
        return Finding("orphaned", since)
    return _comes_again(job, setup, since, as_of)


def _comes_again(job: OpenJob, setup: Setup, since: datetime, as_of: datetime) -> Finding:
    """The broker gives a message back that nobody has acknowledged: Redis after a time, RabbitMQ at once."""
    if setup.visibility_timeout is None or job.taken_at is None:
        late = seconds_since(since, as_of) > REDELIVERY_GRACE
        return Finding("orphaned", since, "overdue" if late else "again")
    again_at = job.taken_at + timedelta(seconds=setup.visibility_timeout)
    late = seconds_since(again_at, as_of) > REDELIVERY_GRACE
    return Finding("orphaned", since, "overdue" if late else "again", again_at)


def acknowledged_late(task: str | None, setup: Setup) -> bool | None:
    """Whether a worker acknowledges jobs of this task at their end; None where its tasks differ."""
    tasks = setup.tasks
    if task is None or task.startswith("celery.") or not tasks.total or tasks.late is None:
        return None
    return True if tasks.late >= tasks.total else False if tasks.late == 0 else None


# Stuck


def stuck(job: OpenJob, incarnations: Iterable[Worker], usual: Usual, as_of: datetime) -> Finding | None:
    """Whether it runs for far too long, on the one process that can have it, which lives and is busy."""
    known = list(incarnations)
    holders = [one for one in holders_of(job, known) if gone_since(one, known, as_of) is None]
    if job.state != State.RUNNING or job.started_at is None or len(holders) != 1:
        return None
    (holder,) = holders
    if worker_state(holder, as_of) != "online" or not holder.busy:
        return None
    ran = seconds_since(job.started_at, as_of)
    if over_limit(ran, limit_of(setup_of(holder.setup)), usual) or far_beyond(ran, usual):
        return Finding("stuck", job.started_at, "runs", usual=usual.known)
    return None


def may_be_stuck(job: OpenJob, as_of: datetime) -> bool:
    """Whether it is worth asking what is usual."""
    ran = seconds_since(job.started_at, as_of) if job.started_at is not None else 0.0
    return job.state == State.RUNNING and ran > min(LIMIT_GRACE, STUCK_AT_LEAST)


def limit_of(setup: Setup | None) -> float | None:
    """A limit in seconds that no task of this worker may exceed; None if it told none that holds for all."""
    if setup is None or can_enforce(setup, "hard") is not True:
        return None
    tasks = setup.tasks
    told_of_all = bool(tasks.total) and tasks.late == tasks.total and tasks.late_unlimited == 0
    return tasks.late_longest if told_of_all else None


def over_limit(ran: float, limit: float | None, usual: Usual) -> bool:
    """Whether its pool should have ended it; callers may give more time, which only what is usual shows."""
    if limit is None or usual.known is None or ran <= limit + LIMIT_GRACE:
        return False
    return ran > 2 * usual.known


def far_beyond(ran: float, usual: Usual) -> bool:
    """Whether it runs far longer than others of its task ever did."""
    return usual.known is not None and ran > max(STUCK_AT_LEAST, STUCK_FACTOR * usual.known)


# Lost


def lost(job: OpenJob, evidence: QueueEvidence | None, as_of: datetime) -> Finding | None:
    """Whether its message is gone: neither in its queue nor in a hand, and nobody told of taking it."""
    if evidence is None or job.published_at is None or not waits_untouched(job):
        return None
    if evidence.paused or not evidence.complete or not evidence.passed:
        return None
    held, emptied = held_at_most(evidence.readers), evidence.emptied_at
    if held is None or emptied is None or not _was_read(evidence, emptied):
        return None
    back = job.published_at + timedelta(seconds=held + LOST_GRACE)
    seen_gone = back <= emptied <= as_of - timedelta(seconds=SETTLED_AFTER)
    return Finding("lost", job.published_at, "gone") if seen_gone else None


def _was_read(evidence: QueueEvidence, emptied: datetime) -> bool:
    """Whether one that is there now had been there for a while: it is a reader that gives messages back."""
    before = emptied - timedelta(seconds=LOST_GRACE)
    return any(state == "online" and _began(worker) <= before for worker, state in evidence.readers)


def waits_untouched(job: OpenJob) -> bool:
    """Whether it waits for its first worker: not for an eta, a retry, a limit, or to be handed out again."""
    return job.state == State.QUEUED and job.attempts == 0 and job.eta is None


def held_at_most(readers: Sequence[tuple[Worker, WorkerState]]) -> float | None:
    """The longest that one of them may hold a message unseen, in seconds; None if that can't be known.

    All of them must tell of each job that they take.
    """
    times = [_held_by(worker) for worker, _ in readers]
    known = [time for time in times if time is not None]
    return max(known) if known and len(known) == len(times) else None


def _held_by(worker: Worker) -> float | None:
    setup = setup_of(worker.setup)
    tells = worker.events is True and worker.faults == 0 and worker.dropped == 0
    if setup is None or not tells:
        return None
    if setup.visibility_timeout is not None:
        return setup.visibility_timeout
    if setup.rabbitmq is not None:
        return max(setup.rabbitmq.consumer_timeout or 0.0, CONSUMER_TIMEOUT)
    return None


def may_read(worker: Worker, queue: str) -> bool:
    """Whether it may have taken jobs of this queue: one that doesn't tell of all may read any."""
    told_all = worker.queues is not None and len(worker.queues) < QUEUES_LENGTH
    return not told_all or queue in queues_of(worker)
