"""Where a job stands, from what is known of it: pure, and the same in any order of arrival.

Each attempt (retries, delivery) holds the event that says most about it:
events have a rank, and within an attempt the highest rank stays. Among
attempts the highest (retries, delivery) decides the job. Where two events
tell the same fact differently, the smaller value stays, so that order never
matters.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

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
}
ENDS = frozenset({"succeeded", "failed", "revoked", "rejected"})
JOB_FACTS = (
    "task",
    "queue",
    "priority",
    "expires_at",
    "root_id",
    "parent_id",
    "group_id",
    "retry_of",
    "schedule",
    "origin",
    "release",
)


@dataclass(slots=True)
class Attempt:
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

    @property
    def wait(self) -> float | None:
        """Seconds from publish or eta to start."""
        if self.started_at is None or self.published_at is None:
            return None
        return max(0.0, self.started_at - max(self.published_at, self.eta or 0.0))


@dataclass(slots=True)
class Job:
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
    attempts: dict[tuple[int, int], Attempt] = field(default_factory=dict)

    @property
    def deciding(self) -> Attempt | None:
        """The attempt that decides; None while the latest publish has no receipt."""
        latest = self.attempts[max(self.attempts)] if self.attempts else None
        return None if latest is None or latest.retries < self.published_retries else latest

    @property
    def state(self) -> str:
        attempt = self.deciding
        if attempt is not None:
            return attempt.state
        if self.published_retries:
            return "retrying"
        return "scheduled" if self.eta is not None else "queued"

    @property
    def ended_at(self) -> float | None:
        attempt = self.deciding
        return attempt.ended_at if attempt is not None and attempt.state in ENDS else None

    @property
    def total(self) -> float | None:
        """Seconds from the first publish (or eta) to the end: what a user waited."""
        ended_at = self.ended_at
        if ended_at is None or self.published_at is None:
            return None
        return max(0.0, ended_at - max(self.published_at, self.eta or 0.0))


def advance(job: Job | None, event: JobEvent) -> Job:
    """The job after one event more. The given job is left as it is."""
    return fold(job, event.task_id, (event,))


def fold(job: Job | None, task_id: str, events: Iterable[JobEvent]) -> Job:
    """The job after these events, whatever their order. The given job is left as it is."""
    after = _copy(job) if job is not None else Job(task_id=task_id)
    for event in events:
        _apply(after, event)
    return after


def _copy(job: Job) -> Job:
    return replace(job, attempts={key: replace(attempt) for key, attempt in job.attempts.items()})


def _apply(job: Job, event: JobEvent) -> None:
    job.seen_at = max(job.seen_at, event.at)
    retries = job.published_retries if event.retries is None else event.retries
    for name in JOB_FACTS:
        if name in event.facts:
            setattr(job, name, _smaller(getattr(job, name), event.facts[name]))
    if event.kind in ("sent", "received"):
        _learn_publish(job, event, retries)
    if event.kind in STEPS:
        _step(_attempt_of(job, retries, event.delivery), event)


def _learn_publish(job: Job, event: JobEvent, retries: int) -> None:
    job.published_retries = max(job.published_retries, retries)
    first = event.facts.get("first_published_at")
    if first is None and retries == 0:
        first = event.at if event.kind == "sent" else event.facts.get("published_at")
    job.published_at = _smaller(job.published_at, first)
    if retries == 0:
        job.eta = _smaller(job.eta, event.facts.get("eta"))


def _attempt_of(job: Job, retries: int, delivery: int) -> Attempt:
    key = (retries, delivery)
    if key not in job.attempts:
        job.attempts[key] = Attempt(retries, delivery)
    return job.attempts[key]


def _step(attempt: Attempt, event: JobEvent) -> None:
    if event.kind == "received":
        attempt.received_at = _smaller(attempt.received_at, event.at)
        attempt.published_at = _smaller(attempt.published_at, event.facts.get("published_at"))
        attempt.eta = _smaller(attempt.eta, event.facts.get("eta"))
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
    told = _order(event.at, event.facts.get("exception"), event.facts.get("run"))
    return told < _order(attempt.ended_at, attempt.exception, attempt.run)


def _order(at: float, exception: str | None, run: float | None) -> tuple[float, bool, str, bool, float]:
    return (at, exception is None, exception or "", run is None, run or 0.0)


def _take_end(attempt: Attempt, event: JobEvent) -> None:
    """The facts of an end belong together: all from the event that decides the attempt."""
    attempt.ended_at = event.at
    attempt.exception = event.facts.get("exception")
    attempt.traceback = event.facts.get("traceback")
    attempt.run = event.facts.get("run")


def run_of(attempt: Attempt) -> float | None:
    """Seconds that an attempt ran: as its worker measured, else from its start to its end."""
    if attempt.run is not None:
        return attempt.run
    if attempt.started_at is None or attempt.ended_at is None:
        return None
    return max(0.0, attempt.ended_at - attempt.started_at)


def _smaller(known: Any, told: Any) -> Any:
    if told is None or known is None:
        return known if told is None else told
    return min(known, told)
