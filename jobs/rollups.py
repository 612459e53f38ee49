"""Counts and latency sketches by minute: pure.

What a job adds to the counters is a function of the job alone (`counted`), so
the counters move by the difference between a job before and after, and equal
a recount at any time.
"""

from __future__ import annotations

import math
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
MOMENTS = ("published", "started", "retried")
UNKNOWN = "?"


@dataclass(slots=True)
class Sketch:
    """A mergeable distribution of durations in seconds; `us` is their sum in whole microseconds."""

    count: int = 0
    us: int = 0
    bins: dict[int, int] = field(default_factory=dict)

    def add(self, seconds: float, weight: int = 1) -> None:
        """Add a duration; weight -1 takes it back exactly."""
        k = math.ceil(math.log(seconds if seconds > SHORTEST else SHORTEST) / LOG_GAMMA)
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
        sketch = self.get((outcome, measure))
        if sketch is None:
            sketch = self[(outcome, measure)] = Sketch()
        return sketch

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
    published: tuple[int, ...]
    started: tuple[int, ...]
    retried: tuple[int, ...]
    end: End | None


def counted(job: Job | None) -> Counted | None:
    """What `job` adds to the counters."""
    if job is None:
        return None
    attempts = job.attempts.values()
    return Counted(
        job.task or UNKNOWN,
        job.queue or UNKNOWN,
        () if job.published_at is None else (minute_of(job.published_at),),
        tuple([minute_of(a.started_at) for a in attempts if a.started_at is not None]),
        tuple([minute_of(a.ended_at) for a in attempts if a.state == "retrying" and a.ended_at is not None]),
        _end_of(job),
    )


def _end_of(job: Job) -> End | None:
    attempt, ended_at = job.deciding, job.ended_at
    if attempt is None or ended_at is None:
        return None
    return End(minute_of(ended_at), attempt.state, attempt.wait, run_of(attempt), job.total)


def minute_of(at: float) -> int:
    """Whole minutes since the epoch."""
    return int(at // 60)


class Key(NamedTuple):
    """What a bucket is of; `minute` counts whole minutes (hours, days) since the epoch."""

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
        if before is None or after is None or (before.task, before.queue) != (after.task, after.queue):
            if before is not None:
                self._add(before, -1)
            if after is not None:
                self._add(after, 1)
        elif before != after:
            self._add_change(before, after)

    def _add(self, job: Counted, weight: int) -> None:
        for name in MOMENTS:
            self._add_moments(job, name, weight)
        self._add_end(job, weight)

    def _add_change(self, before: Counted, after: Counted) -> None:
        """Of a job whose buckets are known by the same names, only what differs."""
        for name in MOMENTS:
            if getattr(before, name) != getattr(after, name):
                self._add_moments(before, name, -1)
                self._add_moments(after, name, 1)
        if before.end != after.end:
            self._add_end(before, -1)
            self._add_end(after, 1)

    def _add_moments(self, job: Counted, name: str, weight: int) -> None:
        for minute in getattr(job, name):
            self._at(minute, job).counts[name] += weight

    def _add_end(self, job: Counted, weight: int) -> None:
        if job.end is None:
            return
        minute, outcome, *durations = job.end
        tally = self._at(minute, job)
        tally.counts[outcome] += weight
        if outcome in SKETCHED:
            for measure, seconds in zip(MEASURES, durations, strict=True):
                if seconds is not None:
                    tally.sketches.at(outcome, measure).add(seconds, weight)

    def _at(self, minute: int, job: Counted) -> Tally:
        key = Key(minute, job.task, job.queue)
        tally = self.get(key)
        if tally is None:
            tally = self[key] = Tally()
        return tally

    def wider(self, times: int) -> Deltas:
        """The same in buckets that are so many times as wide."""
        wide = Deltas()
        for key, tally in self.items():
            wide.setdefault(Key(key.minute // times, key.task, key.queue), Tally()).merge(tally)
        return wide


assert set(SKETCHED) < ENDS <= set(COUNTS)
