"""Counters that never fall, from jobs before and after: pure.

Buckets move back where a job turns out to have ended otherwise, and
Prometheus takes each fall of a counter for a restart. So these count what has
happened, each thing once: an attempt that was received, started, ended. What
is told later of an attempt may add to them, and takes nothing back.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import orjson

from jobs.lifecycle import Attempt, Job, run_of

KINDS = ("sent", "received", "started", "retried", "succeeded", "failed", "revoked", "rejected")
SENT, RECEIVED, STARTED, SUCCEEDED, FAILED = map(
    KINDS.index, ("sent", "received", "started", "succeeded", "failed")
)
# The state of an attempt -> what it counts as.
OUTCOMES = {
    state: KINDS.index(kind)
    for state, kind in {
        "retrying": "retried", "succeeded": "succeeded", "failed": "failed", "revoked": "revoked",
        "rejected": "rejected",
    }.items()
}  # fmt: skip

# Prometheus's own, and beyond its 10 s, after which jobs only begin to be long.
RUN_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
              30.0, 60.0, 300.0, 1800.0)  # fmt: skip
# celery-exporter's, and beyond.
WAIT_BOUNDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0,
               7200.0)  # fmt: skip
LONGEST = 1e9

QUEUE, WORKER, WAIT = "queue", "worker", "wait"
# Who published is not told apart: a web process more would be a label more.
ANYBODY = "generic"
OTHER, UNKNOWN = "other", "?"
MOST_EXCEPTIONS = 20
UNNAMED_EXCEPTION = "UnknownException"
EXCEPTION = re.compile(r"[A-Za-z_][\w.]{0,100}(?=[:(]|\Z)")


class Key(NamedTuple):
    """What is counted apart."""

    axis: str
    task: str
    place: str


# A sum of seconds, then how many were within each bound, and beyond the last.
Histogram = list[float]


@dataclass(slots=True)
class Tally:
    """What was counted under one key; times are seconds since the epoch.

    `prefetch`: the seconds that the job which started last had been with its worker, and when that was.
    `exceptions`: by name, how often and since when.
    """

    born: float
    moved: float
    counts: list[int] = field(default_factory=lambda: [0] * len(KINDS))
    run: Histogram = field(default_factory=lambda: nothing_in(RUN_BOUNDS))
    wait: Histogram = field(default_factory=lambda: nothing_in(WAIT_BOUNDS))
    prefetch: tuple[float, float] | None = None
    exceptions: dict[str, list[float]] = field(default_factory=dict)

    def dumps(self) -> str:
        """Its measures as JSON."""
        told = {name: getattr(self, name) for name in ("prefetch", "exceptions")}
        told |= {name: observed for name in ("run", "wait") if any(observed := getattr(self, name))}
        return orjson.dumps({name: value for name, value in told.items() if value}).decode()

    def load(self, text: str) -> Tally:
        """Itself, with the measures of `dumps`; a histogram of other bounds than today's begins anew."""
        told = orjson.loads(text)
        self.run = _of_bounds(told.get("run"), RUN_BOUNDS)
        self.wait = _of_bounds(told.get("wait"), WAIT_BOUNDS)
        self.prefetch = tuple(told["prefetch"]) if "prefetch" in told else None
        self.exceptions = told.get("exceptions", {})
        return self

    def add_exception(self, text: str | None, now: float) -> None:
        """One failure more; what comes after the first so many names is `other`."""
        name = exception_name(text)
        if name not in self.exceptions and len(self.exceptions) >= MOST_EXCEPTIONS:
            name = OTHER
        self.exceptions.setdefault(name, [0, now])[0] += 1


def exception_name(text: str | None) -> str:
    """What an exception is called, as celery-exporter has it."""
    found = EXCEPTION.match(text or "")
    return found[0] if found else UNNAMED_EXCEPTION


def nothing_in(bounds: Collection[float]) -> Histogram:
    """A histogram before its first observation."""
    return [0.0] + [0] * (len(bounds) + 1)


def _of_bounds(known: Histogram | None, bounds: Collection[float]) -> Histogram:
    return known if known is not None and len(known) == len(bounds) + 2 else nothing_in(bounds)


def observe(seconds: float, bounds: Sequence[float], *histograms: Histogram) -> None:
    """One observation more in each of these."""
    if not 0.0 <= seconds <= LONGEST:
        seconds = LONGEST if seconds > LONGEST else 0.0
    place = 1 + bisect_left(bounds, seconds)
    for histogram in histograms:
        histogram[0] += seconds
        histogram[place] += 1


class Ledger:
    """All that was counted, in memory: the one writer of the record holds it.

    Bounded: beyond `most` keys of an axis, a new place of a known task counts
    as place `other`, and a new task as task `other` at place `other`.
    """

    def __init__(self, known: Mapping[Key, Tally], most: int) -> None:
        self._most = most
        self._hold(known)

    def _hold(self, known: Mapping[Key, Tally]) -> None:
        self._tallies = dict[Key, Tally]()
        self._keys = dict.fromkeys((QUEUE, WORKER, WAIT), 0)
        self._tasks: set[tuple[str, str]] = set()
        for key, tally in known.items():
            self._enter(key, tally)

    def _enter(self, key: Key, tally: Tally) -> None:
        self._tallies[key] = tally
        self._keys[key.axis] += 1
        self._tasks.add((key.axis, key.task))

    @property
    def full(self) -> bool:
        """Whether what is new would be `other`."""
        return max(self._keys.values()) >= self._most

    def drop(self, gone: Callable[[Key, Tally], bool]) -> None:
        """Make room: forget those of which this is true."""
        self._hold({key: tally for key, tally in self._tallies.items() if not gone(key, tally)})

    def count(self, before: Mapping[str, Job], after: Mapping[str, Job], now: float) -> dict[Key, Tally]:
        """Count what has happened to jobs; the tallies that moved.

        A job whose task isn't known yet waits: it is counted when it is known.
        """
        counting = _Counting(self, now)
        for task_id, job in after.items():
            if job.task is not None:
                earlier = before.get(task_id)
                counting.count(None if earlier is None or earlier.task is None else earlier, job, job.task)
        return counting.moved

    def at(self, key: Key, now: float) -> tuple[Key, Tally]:
        """Where this is counted, which may be elsewhere."""
        tally = self._tallies.get(key)
        if tally is None:
            key = self._fitting(key)
            tally = self._tallies.get(key)
        if tally is None:
            tally = Tally(now, now)
            self._enter(key, tally)
        tally.moved = now
        return key, tally

    def _fitting(self, key: Key) -> Key:
        """The key under which a new one is counted."""
        if self._keys[key.axis] < self._most:
            return key
        return Key(key.axis, key.task if (key.axis, key.task) in self._tasks else OTHER, OTHER)


class _Counting:
    """One batch: what it moves. It goes through every event that ingest reads, so it counts microseconds."""

    def __init__(self, ledger: Ledger, now: float) -> None:
        self._ledger = ledger
        self._now = now
        self._tallies: dict[tuple[str, str, str], Tally] = {}
        self.moved: dict[Key, Tally] = {}

    def _find(self, axis: str, task: str, place: str) -> Tally:
        key, tally = self._ledger.at(Key(axis, task, place), self._now)
        self._tallies[(axis, task, place)] = self.moved[key] = tally
        return tally

    def _at(self, axis: str, task: str, place: str) -> Tally:
        return self._tallies.get((axis, task, place)) or self._find(axis, task, place)

    def count(self, before: Job | None, job: Job, task: str) -> None:
        queue = job.queue or UNKNOWN
        sent = _publishes(job) if before is None else _publishes(job) - _publishes(before)
        if sent > 0:
            self._at(QUEUE, task, queue).counts[SENT] += sent
            self._at(WORKER, task, ANYBODY).counts[SENT] += sent
        for key, attempt in job.attempts.items():
            earlier = NOTHING if before is None else before.attempts.get(key, NOTHING)
            if earlier is NOTHING or earlier != attempt:
                self._count_attempt(task, queue, earlier, attempt)

    def _count_attempt(self, task: str, queue: str, before: Attempt, attempt: Attempt) -> None:
        of_queue = self._at(QUEUE, task, queue)
        of_worker = self._at(WORKER, task, attempt.worker or UNKNOWN)
        if attempt.received_at is not None and before.received_at is None:
            of_queue.counts[RECEIVED] += 1
            of_worker.counts[RECEIVED] += 1
        if attempt.started_at is not None:
            if before.started_at is None:
                of_queue.counts[STARTED] += 1
                of_worker.counts[STARTED] += 1
                _note_prefetch(of_worker, attempt, attempt.started_at)
            if attempt.published_at is not None and (
                before.started_at is None or before.published_at is None
            ):
                self._add_wait(of_queue, queue, attempt.wait or 0.0)
        # One that waits for a retry's eta is "retrying" by its receipt, and has not ended.
        was = None if before.ended_at is None else before.state
        if attempt.ended_at is not None and attempt.state != was and attempt.state in OUTCOMES:
            self._count_outcome(OUTCOMES[attempt.state], attempt, of_queue, of_worker)

    def _add_wait(self, of_queue: Tally, queue: str, seconds: float) -> None:
        observe(seconds, WAIT_BOUNDS, of_queue.wait, self._at(WAIT, "", queue).wait)

    def _count_outcome(self, kind: int, attempt: Attempt, of_queue: Tally, of_worker: Tally) -> None:
        of_queue.counts[kind] += 1
        of_worker.counts[kind] += 1
        if kind == FAILED:
            of_queue.add_exception(attempt.exception, self._now)
        elif kind == SUCCEEDED and (seconds := run_of(attempt)) is not None:
            observe(seconds, RUN_BOUNDS, of_queue.run, of_worker.run)


# An attempt of which nothing was told.
NOTHING = Attempt(retries=0, delivery=0)


def _publishes(job: Job) -> int:
    return job.published_retries + (job.published_at is not None)


def _note_prefetch(tally: Tally, attempt: Attempt, started: float) -> None:
    if attempt.received_at is not None and attempt.eta is None:
        tally.prefetch = (max(0.0, started - attempt.received_at), started)
