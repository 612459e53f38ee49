"""Counts and latency sketches by minute: pure.

What a job adds to the counters is a function of the job alone (`counted`), so
the counters move by the difference between a job before and after, and equal
a recount at any time.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import orjson

from jobs.lifecycle import ENDS, Job, run_of

# DDSketch (Masson, Rim, Lee 2019): a bin k holds (gamma^(k-1), gamma^k], so that
# every quantile is within ACCURACY of the truth, and sketches merge by adding.
ACCURACY = 0.02
GAMMA = (1 + ACCURACY) / (1 - ACCURACY)
LOG_GAMMA = math.log(GAMMA)
SHORTEST = 1e-4
COUNTS = ("published", "started", "retried", "succeeded", "failed", "revoked", "rejected")
MEASURES = ("wait", "run", "total")
SKETCHED = ("succeeded", "failed")
UNKNOWN = "?"


@dataclass(slots=True)
class Sketch:
    """A mergeable distribution of durations in seconds; `us` is their sum in whole microseconds."""

    count: int = 0
    us: int = 0
    bins: dict[int, int] = field(default_factory=dict)

    def add(self, seconds: float, weight: int = 1) -> None:
        """Add a duration; weight -1 takes it back exactly."""
        k = math.ceil(math.log(max(seconds, SHORTEST)) / LOG_GAMMA)
        self._add_bin(k, weight)
        self.count += weight
        self.us += weight * round(seconds * 1_000_000)

    def merge(self, other: Sketch) -> None:
        for k, n in other.bins.items():
            self._add_bin(k, n)
        self.count += other.count
        self.us += other.us

    def _add_bin(self, k: int, n: int) -> None:
        total = self.bins.get(k, 0) + n
        if total:
            self.bins[k] = total
        else:
            self.bins.pop(k, None)

    @property
    def mean(self) -> float | None:
        return self.us / self.count / 1_000_000 if self.count > 0 else None

    def quantile(self, q: float) -> float | None:
        """The duration below which a share `q` lies, within 2 %; None if nothing was added."""
        if self.count <= 0:
            return None
        rank = q * (self.count - 1)
        seen = 0
        for k in sorted(self.bins):
            seen += self.bins[k]
            if seen > rank:
                return 2 * GAMMA**k / (GAMMA + 1)
        return None

    def as_json(self) -> dict[str, Any]:
        return {"n": self.count, "us": self.us, "b": {str(k): n for k, n in self.bins.items()}}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Sketch:
        return cls(data["n"], data["us"], {int(k): n for k, n in data["b"].items()})


class Sketches(dict[tuple[str, str], Sketch]):
    """Sketches by (outcome, measure): ("succeeded" or "failed", "wait", "run" or "total")."""

    def at(self, outcome: str, measure: str) -> Sketch:
        return self.setdefault((outcome, measure), Sketch())

    def merge(self, other: Sketches) -> None:
        for (outcome, measure), sketch in other.items():
            self.at(outcome, measure).merge(sketch)

    def ended(self, measure: str) -> Sketch:
        """The distribution over jobs that succeeded or failed."""
        merged = Sketch()
        for outcome in SKETCHED:
            merged.merge(self.get((outcome, measure), Sketch()))
        return merged

    def dumps(self) -> str:
        data: dict[str, dict[str, Any]] = {}
        for (outcome, measure), sketch in self.items():
            if sketch.count or sketch.bins:
                data.setdefault(outcome, {})[measure] = sketch.as_json()
        return orjson.dumps(data).decode()

    @classmethod
    def loads(cls, text: str) -> Sketches:
        return cls(
            ((outcome, measure), Sketch.from_json(data))
            for outcome, measures in orjson.loads(text).items()
            for measure, data in measures.items()
        )


class End(NamedTuple):
    """A job's end as the counters see it."""

    minute: int
    outcome: str
    wait: float | None
    run: float | None
    total: float | None


class Counted(NamedTuple):
    """All that a job adds to the counters; minutes since the epoch."""

    task: str
    queue: str
    published: int | None
    started: tuple[int, ...]
    retried: tuple[int, ...]
    end: End | None


def counted(job: Job | None) -> Counted | None:
    """What `job` adds to the counters."""
    if job is None:
        return None
    return Counted(
        task=job.task or UNKNOWN,
        queue=job.queue or UNKNOWN,
        published=None if job.published_at is None else minute_of(job.published_at),
        started=tuple(minute_of(a.started_at) for a in job.attempts.values() if a.started_at is not None),
        retried=tuple(minute_of(a.ended_at) for a in job.attempts.values() if _retried(a) and a.ended_at),
        end=_end_of(job),
    )


def _retried(attempt: Any) -> bool:
    return bool(attempt.state == "retrying" and attempt.ended_at is not None)


def _end_of(job: Job) -> End | None:
    attempt, ended_at = job.deciding, job.ended_at
    if attempt is None or ended_at is None:
        return None
    return End(minute_of(ended_at), attempt.state, attempt.wait, run_of(attempt), job.total)


def minute_of(at: float) -> int:
    """Whole minutes since the epoch."""
    return int(at // 60)


class Key(NamedTuple):
    """What a bucket is of; `minute` since the epoch."""

    minute: int
    task: str
    queue: str


@dataclass(slots=True)
class Tally:
    """Counts by name, and sketches: of a bucket, or what is to be added to one."""

    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(COUNTS, 0))
    sketches: Sketches = field(default_factory=Sketches)

    def merge(self, other: Tally) -> None:
        for name, n in other.counts.items():
            self.counts[name] += n
        self.sketches.merge(other.sketches)


class Deltas(dict[Key, Tally]):
    """What is to be added to the minute buckets."""

    def move(self, before: Counted | None, after: Counted | None) -> None:
        """Take back what a job added before, and add what it adds now."""
        if before == after:
            return
        if before is not None:
            self._add(before, -1)
        if after is not None:
            self._add(after, 1)

    def _add(self, job: Counted, weight: int) -> None:
        for name, minutes in _minutes(job):
            for minute in minutes:
                self._at(minute, job).counts[name] += weight
        if job.end is not None:
            self._add_end(self._at(job.end.minute, job), job.end, weight)

    def _add_end(self, tally: Tally, end: End, weight: int) -> None:
        tally.counts[end.outcome] += weight
        if end.outcome not in SKETCHED:
            return
        for measure in MEASURES:
            seconds = getattr(end, measure)
            if seconds is not None:
                tally.sketches.at(end.outcome, measure).add(seconds, weight)

    def _at(self, minute: int, job: Counted) -> Tally:
        key = Key(minute, job.task, job.queue)
        if key not in self:
            self[key] = Tally()
        return self[key]

    def by_hour(self) -> Deltas:
        """The same, in hours since the epoch."""
        hours = Deltas()
        for key, tally in self.items():
            hours.setdefault(Key(key.minute // 60, key.task, key.queue), Tally()).merge(tally)
        return hours


def _minutes(job: Counted) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield "published", () if job.published is None else (job.published,)
    yield "started", job.started
    yield "retried", job.retried


assert set(SKETCHED) < ENDS <= set(COUNTS)
