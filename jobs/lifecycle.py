"""Where a job stands, from what is known of it: pure, and the same in any order of arrival.

Each attempt (retries, delivery) holds the event that says most about it:
events have a rank, and within an attempt the highest rank stays. Among
attempts the highest (retries, delivery) that is no duplicate decides the job.
Where two events tell the same fact differently, the smaller value stays, so
that order never matters.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec.structs import replace

from jobs.events import JobEvent

# kind of event -> (rank, state). A later rank is never taken back within an attempt.
STEPS: dict[str, tuple[int, str]] = {
    "received": (10, "received"),
    "started": (20, "running"),
    "requeued": (30, "queued"),
    "rejected": (40, "rejected"),
    "revoked": (50, "revoked"),
    "retried": (60, "retrying"),
    "failed": (70, "failed"),
    "succeeded": (80, "succeeded"),
    # Another message had claimed the job: this attempt ran nothing, and decides nothing.
    "duplicate": (90, "duplicate"),
}
DUPLICATE = STEPS["duplicate"][1]
LOWEST_END = STEPS["rejected"][0]
ENDS = frozenset({"succeeded", "failed", "revoked", "rejected"})
# The kinds of events that tell what job it is: an unknown task only fails.
TELLING = frozenset({"sent", "received", "failed", "retried", "unknown"})
# What stays the same as long as a job lives, and what each publish of it may change.
LASTING_FACTS = (
    "task", "expires_at", "root_id", "parent_id", "group_id", "retry_of", "schedule", "origin", "release",
)  # fmt: skip
PUBLISH_FACTS = ("queue", "priority")
JOB_FACTS = (*LASTING_FACTS, *PUBLISH_FACTS)


class Attempt(msgspec.Struct, gc=False):
    """One execution: what is known of it, times in seconds by the stream's clock."""

    retries: int
    delivery: int
    rank: int = 0
    state: str = "received"
    worker: str | None = None
    published_at: float | None = None
    eta: float | None = None
    received_at: float | None = None
    started_at: float | None = None
    ended_at: float | None = None
    run: float | None = None
    exception: str | None = None
    traceback: str | None = None
    result: str | None = None

    @property
    def wait(self) -> float | None:
        """Seconds from publish or eta to start."""
        if self.started_at is None or self.published_at is None:
            return None
        return max(0.0, self.started_at - max(self.published_at, self.eta or 0.0))


class Job(msgspec.Struct, gc=False):
    """A job, with its attempts by (retries, delivery)."""

    task_id: str
    id: int | None = None
    task: str | None = None
    queue: str | None = None
    priority: int | None = None
    published_at: float | None = None
    published_retries: int = 0
    eta: float | None = None
    expires_at: float | None = None
    root_id: str | None = None
    parent_id: str | None = None
    group_id: str | None = None
    retry_of: str | None = None
    schedule: str | None = None
    origin: str | None = None
    release: str | None = None
    seen_at: float = 0.0
    attempts: dict[tuple[int, int], Attempt] = msgspec.field(default_factory=dict)
    # What follows from the above: see `decide`.
    deciding: Attempt | None = None
    state: str = "queued"
    ended_at: float | None = None
    total: float | None = None


def decide(job: Job) -> None:
    """Set what follows from a job's attempts.

    `deciding` is None while the latest publish has no receipt. `total` is the
    seconds from the first publish (or eta) to the end: what a user waited.
    """
    attempt = job.deciding = _deciding(job)
    if attempt is None:
        job.state, job.ended_at = _state_without_receipt(job), None
    else:
        job.state, job.ended_at = attempt.state, attempt.ended_at if attempt.state in ENDS else None
    job.total = _total(job)


def _deciding(job: Job) -> Attempt | None:
    if not job.attempts or max(job.attempts)[0] < job.published_retries:
        return None
    return _latest(job)


def _latest(job: Job) -> Attempt | None:
    """The latest attempt that is no duplicate."""
    if not job.attempts:
        return None
    latest = job.attempts[max(job.attempts)]
    if latest.state != DUPLICATE:
        return latest
    genuine = [key for key, attempt in job.attempts.items() if attempt.state != DUPLICATE]
    return job.attempts[max(genuine)] if genuine else None


def _state_without_receipt(job: Job) -> str:
    if job.published_retries:
        return "retrying"
    return "scheduled" if job.eta is not None else "queued"


def _total(job: Job) -> float | None:
    if job.ended_at is None or job.published_at is None:
        return None
    return max(0.0, job.ended_at - max(job.published_at, job.eta or 0.0))


def advance(job: Job | None, event: JobEvent) -> Job:
    """The job after one event more. The given job is left as it is."""
    return fold(job, event.task_id, (event,))


def fold(job: Job | None, task_id: str, events: Iterable[JobEvent]) -> Job:
    """The job after these events, whatever their order. The given job is left as it is."""
    after = _copy(job) if job is not None else Job(task_id=task_id)
    for event in events:
        _apply(after, event)
    decide(after)
    return after


def _copy(job: Job) -> Job:
    return replace(job, attempts={key: replace(attempt) for key, attempt in job.attempts.items()})


def _apply(job: Job, event: JobEvent) -> None:
    if event.at > job.seen_at:
        job.seen_at = event.at
    retries = _retries_untold(job) if event.retries is None else event.retries
    if event.kind in TELLING:
        _learn_facts(job, event, retries)
    if event.kind in ("sent", "received"):
        _learn_publish(job, event, retries)
    if event.kind in STEPS:
        _step(_attempt_of(job, retries, event.delivery), event)


def _retries_untold(job: Job) -> int:
    """Which attempt an event means that doesn't say: the open one, else that of the latest publish."""
    latest = _latest(job)
    return latest.retries if latest is not None and latest.rank < LOWEST_END else job.published_retries


def _learn_facts(job: Job, event: JobEvent, retries: int) -> None:
    """Of a publish the latest tells, since a retry may go to another queue; of the rest the smaller value."""
    # Field by field: to go through the names takes a fifth of all folding.
    if event.task is not None:
        job.task = _smaller(job.task, event.task)
    if event.expires_at is not None:
        job.expires_at = _smaller(job.expires_at, event.expires_at)
    if event.root_id is not None:
        job.root_id = _smaller(job.root_id, event.root_id)
    if event.parent_id is not None:
        job.parent_id = _smaller(job.parent_id, event.parent_id)
    if event.group_id is not None:
        job.group_id = _smaller(job.group_id, event.group_id)
    if event.retry_of is not None:
        job.retry_of = _smaller(job.retry_of, event.retry_of)
    if event.schedule is not None:
        job.schedule = _smaller(job.schedule, event.schedule)
    if event.origin is not None:
        job.origin = _smaller(job.origin, event.origin)
    if event.release is not None:
        job.release = _smaller(job.release, event.release)
    latest = retries >= job.published_retries
    if event.queue is not None and (latest or job.queue is None):
        job.queue = event.queue
    if event.priority is not None and (latest or job.priority is None):
        job.priority = event.priority


def _learn_publish(job: Job, event: JobEvent, retries: int) -> None:
    job.published_retries = max(job.published_retries, retries)
    first = event.first_published_at
    if retries == 0:
        if first is None:
            first = event.at if event.kind == "sent" else event.published_at
        if event.eta is not None:
            job.eta = _smaller(job.eta, event.eta)
    if first is not None:
        job.published_at = _smaller(job.published_at, first)


def _attempt_of(job: Job, retries: int, delivery: int) -> Attempt:
    key = (retries, delivery)
    attempt = job.attempts.get(key)
    if attempt is None:
        attempt = job.attempts[key] = Attempt(retries, delivery)
    return attempt


def _step(attempt: Attempt, event: JobEvent) -> None:
    if event.kind == "received":
        attempt.received_at = _smaller(attempt.received_at, event.at)
        attempt.published_at = _smaller(attempt.published_at, event.published_at)
        attempt.eta = _smaller(attempt.eta, event.eta)
    elif event.kind == "started":
        attempt.started_at = _smaller(attempt.started_at, event.at)
    attempt.worker = _smaller(attempt.worker, event.worker)
    rank, state = STEPS[event.kind]
    if rank > attempt.rank or (rank == attempt.rank and _tells_first(event, attempt)):
        attempt.rank, attempt.state = rank, state
        if event.kind not in ("received", "started"):
            _take_end(attempt, event)
    if attempt.rank == STEPS["received"][0]:
        attempt.state = _state_of_received(attempt)


def _state_of_received(attempt: Attempt) -> str:
    """A worker takes a job long before its eta, and holds it."""
    if attempt.eta is None or attempt.received_at is None or attempt.eta <= attempt.received_at:
        return "received"
    return "retrying" if attempt.retries else "scheduled"


def _tells_first(event: JobEvent, attempt: Attempt) -> bool:
    """Of two events of one rank the earlier counts; of two at one time, the one that tells more."""
    if attempt.ended_at is None:
        return False
    told = _order(event.at, event.exception, event.run)
    return told < _order(attempt.ended_at, attempt.exception, attempt.run)


def _order(at: float, exception: str | None, run: float | None) -> tuple[float, bool, str, bool, float]:
    return (at, exception is None, exception or "", run is None, run or 0.0)


def _take_end(attempt: Attempt, event: JobEvent) -> None:
    """The facts of an end belong together: all from the event that decides the attempt."""
    attempt.ended_at = event.at
    attempt.exception = event.exception
    attempt.traceback = event.traceback
    attempt.result = event.result
    attempt.run = event.run


def run_of(attempt: Attempt) -> float | None:
    """Seconds that an attempt ran: as its worker measured, else from its start to its end."""
    if attempt.run is not None:
        return attempt.run
    if attempt.started_at is None or attempt.ended_at is None:
        return None
    return max(0.0, attempt.ended_at - attempt.started_at)


def _smaller(known: Any, told: Any) -> Any:
    if told is None:
        return known
    return told if known is None or told < known else known
