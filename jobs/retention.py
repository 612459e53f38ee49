"""How long what is kept: pure."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import datetime, timedelta

from jobs.lifecycle import ENDS


@dataclass(frozen=True)
class Known:
    """What is known of a job that matters to its keeping."""

    id: int
    state: str
    published_at: datetime | None
    received_at: datetime | None
    eta: datetime | None
    ended_at: datetime | None
    seen_at: datetime

    @property
    def born(self) -> datetime:
        """When it was first heard of, as far as is known: a publisher's clock may be years ahead."""
        told = (self.published_at, self.received_at, self.seen_at)
        return min(moment for moment in told if moment is not None)


COLUMNS = tuple(field.name for field in fields(Known))


@dataclass(frozen=True)
class Retention:
    """How long after its end a job is kept; an open one after it was last heard of, or due.

    `processes` is for workers, gaps, quarantined events and notices. Buckets are kept
    by the width of their tier, and outlive the jobs they count; alerts after their end, and errors after they
    were last seen, as long as buckets of hours.
    """

    succeeded: timedelta = timedelta(days=7)
    ended: timedelta = timedelta(days=30)
    open: timedelta = timedelta(days=90)
    minutes: timedelta = timedelta(days=7)
    hours: timedelta = timedelta(days=90)
    days: timedelta = timedelta(days=1_825)
    samples: timedelta = timedelta(days=2)
    processes: timedelta = timedelta(days=30)

    @property
    def shortest(self) -> timedelta:
        """No job younger than this is forgotten."""
        return min(self.succeeded, self.ended, self.open)

    def is_over(self, job: Known, now: datetime) -> bool:
        """Whether its time is over."""
        if job.state == "succeeded":
            return _since(job) <= now - self.succeeded
        if job.state in ENDS:
            return _since(job) <= now - self.ended
        return max(job.seen_at, job.eta or job.seen_at) <= now - self.open


def _since(job: Known) -> datetime:
    return job.ended_at or job.seen_at
