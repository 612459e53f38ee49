"""The facts that rules judge, as plain values. Durations are seconds; None is unknown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from jobs.rollups import Sketch


class Place(NamedTuple):
    """Where jobs are counted."""

    task: str
    queue: str


class Ends(NamedTuple):
    """How many jobs ended well, and badly."""

    succeeded: int = 0
    failed: int = 0

    @property
    def all(self) -> int:
        return self.succeeded + self.failed

    @property
    def share(self) -> float | None:
        """The share of failures; None if nothing ended."""
        return self.failed / self.all if self.all else None

    def and_(self, other: Ends) -> Ends:
        return Ends(self.succeeded + other.succeeded, self.failed + other.failed)


EndsBy = Mapping[Place, Ends]
SketchesBy = Mapping[Place, Sketch]


@dataclass(frozen=True)
class QueueFacts:
    """How a queue stands, by its last sample; `oldest` is the age of its oldest waiting job at that time.

    `readers` are the workers online that read it (None: one online does not tell what it reads);
    `free`: their slots without a job, None if one does not tell. `target` is the longest wait that its
    settings promise. `waited` is for how long it has not been empty in any sample, `taken` how many
    jobs started from it in the minutes that this covers.
    """

    name: str
    depth: int | None
    oldest: float | None
    target: float | None
    readers: int | None
    free: int | None
    paused: bool
    waited: float = 0.0
    taken: int = 0


@dataclass(frozen=True)
class WorkerFacts:
    """A worker that should be there and isn't: for how long, and how many jobs it was running.

    `queues` are those that it read, empty if it did not tell.
    """

    name: str
    silent: float
    running: int
    queues: tuple[str, ...] = ()


@dataclass(frozen=True)
class TickFacts:
    """The due time of a schedule whose job has not come."""

    schedule: str
    due: datetime
    late: float
    task: str | None = None
    queue: str | None = None


@dataclass(frozen=True)
class SuccessFacts:
    """How a task ended within the time asked for; `last` is its latest success as far as is known."""

    task: str
    queue: str | None
    ends: Ends
    last: datetime | None


@dataclass(frozen=True)
class ErrorFacts:
    """An exception type of a task: since when it is known, when it came back, and when it was last seen."""

    task: str
    exception: str
    queue: str | None
    first_at: datetime
    last_at: datetime
    returned_at: datetime | None


@dataclass(frozen=True)
class DeadFacts:
    """How many dead letters of a task and queue, where these are known, wait for a decision."""

    task: str | None
    queue: str | None
    count: int


@dataclass(frozen=True)
class StreamFacts:
    """How the record stands: seconds behind, the last gap's end and what is missing, and the broker.

    `lost` is None where it can't be counted; `broker_ok` None if nobody has asked lately.
    """

    lag: float | None
    gap_ended: datetime | None
    lost: int | None
    broker_ok: bool | None


def grouped(ends: EndsBy, by: str) -> dict[str, Ends]:
    """The ends by "task" or "queue"."""
    groups: dict[str, Ends] = {}
    for place, each in ends.items():
        name = getattr(place, by)
        groups[name] = groups.get(name, Ends()).and_(each)
    return groups


def queue_of_each(places: Iterable[Place]) -> dict[str, str | None]:
    """Of each task the only queue in which it is counted; None if there are several."""
    only: dict[str, str | None] = {}
    for place in places:
        only[place.task] = place.queue if only.get(place.task, place.queue) == place.queue else None
    return only
