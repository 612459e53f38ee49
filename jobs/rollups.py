"""Counts and latency sketches by minute: pure.

What a job adds to the counters is a function of the job alone (`counted`), so
the counters move by the difference between a job before and after, and equal
a recount at any time.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
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
        return {"n": self.count, "us": self.us, "b": self.bins}

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
        return orjson.dumps(data, option=orjson.OPT_NON_STR_KEYS).decode()

    @classmethod
    def loads(cls, text: str) -> Sketches:
        return cls(
            ((outcome, measure), Sketch.from_json(data))
            for outcome, measures in orjson.loads(text).items()
            for measure, data in measures.items()
        )


# Seconds that a job waited, ran and took in all, as far as they are known.
Durations = tuple[float | None, float | None, float | None]
# One thing that a job adds to the counters: minute since the epoch, task, queue, name of the count, and
# of an end the durations.
Fact = tuple[int, str, str, str, Durations | None]
# All that a job adds to the counters.
Counted = tuple[Fact, ...]


def counted(job: Job | None) -> Counted:
    """What `job` adds to the counters, in the order in which it mostly comes about."""
    if job is None:
        return ()
    task, queue = job.task or UNKNOWN, job.queue or UNKNOWN
    facts = list[Fact]()
    if job.published_at is not None:
        facts.append((minute_of(job.published_at), task, queue, "published", None))
    for attempt in job.attempts.values():
        if attempt.started_at is not None:
            facts.append((minute_of(attempt.started_at), task, queue, "started", None))
        if attempt.state == "retrying" and attempt.ended_at is not None:
            facts.append((minute_of(attempt.ended_at), task, queue, "retried", None))
    end, ended_at = job.deciding, job.ended_at
    if end is not None and ended_at is not None:
        facts.append((minute_of(ended_at), task, queue, end.state, (end.wait, run_of(end), job.total)))
    return tuple(facts)


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

    @classmethod
    def of(cls, changes: Iterable[tuple[Counted, Counted]]) -> Deltas:
        """Take back what each job added before, and add what it adds now."""
        taken, added = list[Fact](), list[Fact]()
        for before, after in changes:
            if after[: len(before)] == before:  # a job mostly goes on from where it was
                added += after[len(before) :]
            else:
                taken += before
                added += after
        deltas = cls()
        deltas._add(added, 1)
        deltas._add(taken, -1)
        return deltas

    def _add(self, facts: Iterable[Fact], weight: int) -> None:
        for (minute, task, queue, name, durations), times in Counter(facts).items():
            tally = self._at(Key(minute, task, queue))
            tally.counts[name] += weight * times
            if durations is not None and name in SKETCHED:
                for measure, seconds in zip(MEASURES, durations, strict=True):
                    if seconds is not None:
                        tally.sketches.at(name, measure).add(seconds, weight * times)

    def _at(self, key: Key) -> Tally:
        tally = self.get(key)
        if tally is None:
            tally = self[key] = Tally()
        return tally

    def wider(self, times: int) -> Deltas:
        """The same in buckets that are so many times as wide."""
        wide = Deltas()
        for key, tally in self.items():
            wide._at(Key(key.minute // times, key.task, key.queue)).merge(tally)
        return wide


assert set(SKETCHED) < ENDS <= set(COUNTS)
