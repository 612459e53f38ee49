"""How failures move an error: pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from jobs.errors.fingerprints import Cause
from jobs.models import Error, ErrorCount
from jobs.models.errors import ErrorStatus

TIERS = (ErrorCount.FIVE_MINUTES, ErrorCount.HOUR)
# An error's number, a tier, and the start of one of its spans.
Place = tuple[int, int, int]


@dataclass(frozen=True)
class Sighting:
    """A job that has failed: why, when, and of which release, if it told."""

    job_id: int
    cause: Cause
    queue: str
    at: datetime
    release: str | None = None

    @property
    def key(self) -> tuple[str, str]:
        """What its error is known by."""
        return self.cause.fingerprint, self.queue


@dataclass(frozen=True)
class Counted:
    """Where a job is counted: the number of its error, and the moment."""

    error_id: int
    at: datetime


def places(counted: Counted) -> Iterable[Place]:
    """The counts that a job is in."""
    seconds = counted.at.timestamp()
    return ((counted.error_id, tier, int(seconds // tier)) for tier in TIERS)


def moved(changes: Iterable[tuple[Counted | None, Counted | None]]) -> Counter[Place]:
    """What is to be added to the counts, for where each job was counted and is to be: never 0."""
    deltas: Counter[Place] = Counter()
    for before, after in changes:
        deltas.update(places(after) if after else ())
        deltas.subtract(places(before) if before else ())
    return Counter({place: delta for place, delta in deltas.items() if delta})


def begun(cluster_id: int, sighting: Sighting) -> Error:
    """A new error, not counted yet."""
    cause = sighting.cause
    return Error(
        cluster_id=cluster_id,
        fingerprint=cause.fingerprint,
        task=cause.task,
        queue=sighting.queue,
        exception=cause.exception,
        message=cause.message,
        frame=cause.frame,
        first_at=sighting.at,
        last_at=sighting.at,
        first_release=sighting.release,
        last_release=sighting.release,
        last_job=sighting.job_id,
    )


def see(error: Error, sighting: Sighting) -> None:
    """Bring an error up to one job more, which `times` counts already."""
    if sighting.at < error.first_at:
        error.first_at, error.first_release = sighting.at, sighting.release
    if sighting.at >= error.last_at:
        error.last_at, error.last_release = sighting.at, sighting.release
        error.last_job, error.frame = sighting.job_id, sighting.cause.frame
    if has_returned(error, sighting.at):
        reopen(error, sighting.at)


def has_returned(error: Error, at: datetime) -> bool:
    """Whether a job that failed at this moment brings back what people were done with."""
    if error.status == ErrorStatus.RESOLVED:
        return error.resolved_at is None or at > error.resolved_at
    if error.status == ErrorStatus.IGNORED:
        over = error.ignored_until is not None and at >= error.ignored_until
        return over or (error.ignored_above is not None and error.times > error.ignored_above)
    return False


def reopen(error: Error, at: datetime) -> None:
    """It is open again: regressed, if it was resolved."""
    was_resolved = error.status == ErrorStatus.RESOLVED
    error.status = ErrorStatus.REGRESSED if was_resolved else ErrorStatus.UNRESOLVED
    error.returned_at = at
    error.ignored_until = error.ignored_above = None
