"""All facts of one moment: each is read when a rule first asks for it, and once for all rules."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property

from jobs.alerts.facts import buckets, dead, errors, queues, schedules, stream, workers
from jobs.alerts.shapes import (
    DeadFacts,
    EndsBy,
    ErrorFacts,
    QueueFacts,
    SketchesBy,
    StreamFacts,
    TickFacts,
    WorkerFacts,
)
from jobs.seen import read_workers
from jobs.trust import Trust, read_trust


@dataclass
class Memory:
    """What the readers keep from look to look. A cache: facts read with an empty one are the same."""

    buckets: buckets.Memory = field(default_factory=buckets.Memory)
    errors: errors.Memory = field(default_factory=errors.Memory)


class Facts:
    """The facts of a cluster at `now`."""

    def __init__(self, cluster_id: int, now: datetime, memory: Memory) -> None:
        self.cluster_id = cluster_id
        self.now = now
        self._memory = memory
        self._ends: dict[timedelta, EndsBy] = {}
        self._queues: dict[timedelta, list[QueueFacts]] = {}

    @cached_property
    def trust(self) -> Trust:
        return read_trust(self.cluster_id, self.now)

    @property
    def blind(self) -> bool:
        """Whether buckets, workers and samples tell of another time than now."""
        return self.trust.verdict(anything_seen=True).word == "blind"

    @cached_property
    def _workers(self) -> queues.Workers:
        return read_workers(self.cluster_id, self.trust)

    @cached_property
    def dead_workers(self) -> list[WorkerFacts]:
        return workers.read_dead(self.cluster_id, self._workers, self.trust.as_of)

    def ends(self, window: timedelta) -> EndsBy:
        if window not in self._ends:
            self._ends[window] = buckets.read_ends(self.cluster_id, self.now, window)
        return self._ends[window]

    def usual(self, days: int) -> EndsBy:
        return buckets.read_usual(self.cluster_id, self.now, days, self._memory.buckets)

    def sketches(self, window: timedelta, measure: str) -> SketchesBy:
        return buckets.read_sketches(self.cluster_id, self.now, window, measure, self._memory.buckets)

    def last_success(self, tasks: Collection[str]) -> dict[str, datetime]:
        return buckets.read_last_success(self.cluster_id, self.now, tasks)

    def queues(self, within: timedelta = timedelta(minutes=1)) -> list[QueueFacts]:
        if within not in self._queues:
            read = queues.read_queues(self.cluster_id, self.now, self._workers, within)
            self._queues[within] = read
        return self._queues[within]

    @cached_property
    def overdue(self) -> list[TickFacts]:
        return schedules.read_overdue(self.now)

    @cached_property
    def beat_silence(self) -> float | None:
        return schedules.read_beat_silence(self.now)

    def errors(self, since: datetime) -> list[ErrorFacts]:
        """Also learns what is new among them."""
        errors.learn(self.cluster_id, self.now, self._memory.errors)
        return errors.read_errors(self.cluster_id, since)

    @cached_property
    def dead_letters(self) -> list[DeadFacts]:
        return dead.read_dead_letters(self.cluster_id)

    def stream(self, within: timedelta) -> StreamFacts:
        return stream.read_stream(self.cluster_id, self.trust, within)
