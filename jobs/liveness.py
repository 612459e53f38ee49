"""Who is there, and can the record be trusted: pure decisions over what was last seen."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from jobs.models import Heartbeat, Worker

WorkerState = Literal["online", "late", "dead", "retired"]
BeatState = Literal["online", "late", "dead", "never"]
Word = Literal["quiet", "blind", "ready"]
Reason = Literal["monitor", "broker", "lag"]

BEATS_UNTIL_LATE = 2.5
WORKER_DEAD_AFTER = 30.0
# The monitor waits so long for all answers of a round, with room to write them down.
ANSWERED_WITHIN = 15.0
POOLS_THAT_ANSWER = frozenset({"prefork", "threads"})
HEARTBEAT_LATE_AFTER = 15.0
HEARTBEAT_DEAD_AFTER = 35.0
SAMPLE_STALE_AFTER = 15.0
LAG_LIMIT = 10.0

# Worst first, as pages list them.
WORKER_STATES: tuple[WorkerState, ...] = ("dead", "late", "online", "retired")


def seconds_since(then: datetime, now: datetime) -> float:
    """Seconds from `then` to `now`, never below 0: clocks differ."""
    return max(0.0, (now - then).total_seconds())


def worker_state(worker: Worker, now: datetime) -> WorkerState:
    """Where one incarnation of a worker stands, by the age of its last sign of life."""
    if worker.offline_at is not None:
        return "retired"
    silence = seconds_since(worker.seen_at, now)
    if silence > WORKER_DEAD_AFTER:
        return "dead"
    return "late" if silence > BEATS_UNTIL_LATE * worker.freq else "online"


def is_unreachable(
    state: WorkerState, pool: str | None, asked_at: datetime | None, told_at: datetime | None, now: datetime
) -> bool:
    """Whether a worker gives signs of life, but left unanswered what it was asked last and could answer.

    `asked_at` and `told_at` are when the monitor asked it last, and when it last answered. Only a pool that
    works beside its main process is sure to answer while jobs run: of any other, silence says nothing.
    """
    if state != "online" or pool not in POOLS_THAT_ANSWER or asked_at is None:
        return False
    answered = told_at is not None and told_at >= asked_at
    return not answered and seconds_since(asked_at, now) > ANSWERED_WITHIN


def worker_states(workers: Iterable[Worker], now: datetime) -> list[tuple[Worker, WorkerState]]:
    """Each worker with its state, worst first, without the retired.

    A silent incarnation whose name has come back since is retired as well: its
    host has replaced it.
    """
    known = list(workers)
    newest = _newest_by_name(known)
    standing = [
        (worker, worker_state(worker, now))
        for worker in known
        if newest[worker.name] is worker or not _replaced(worker, newest, now)
    ]
    return sorted(
        (pair for pair in standing if pair[1] != "retired"),
        key=lambda pair: (WORKER_STATES.index(pair[1]), pair[0].name, pair[0].id),
    )


def _newest_by_name(workers: Iterable[Worker]) -> dict[str, Worker]:
    newest: dict[str, Worker] = {}
    for worker in workers:
        best = newest.setdefault(worker.name, worker)
        if worker.seen_at > best.seen_at:
            newest[worker.name] = worker
    return newest


def _replaced(worker: Worker, newest: dict[str, Worker], now: datetime) -> bool:
    return worker_state(worker, now) != "online" and newest[worker.name].seen_at > worker.seen_at


def heartbeat_state(heartbeat: Heartbeat | None, now: datetime) -> BeatState:
    """Whether a process that must be there has lately said so."""
    if heartbeat is None:
        return "never"
    silence = seconds_since(heartbeat.at, now)
    if silence > HEARTBEAT_DEAD_AFTER:
        return "dead"
    return "late" if silence > HEARTBEAT_LATE_AFTER else "online"


def behind_since(
    before: datetime | None, heard: datetime | None, lag: float | None, now: datetime
) -> datetime | None:
    """Since when the record is behind; None if it is not.

    `before` is what this said at the last look, and `heard` when that was: a
    monitor that catches up has been behind all the while, and one that was
    away at least since it was last heard.
    """
    if lag is None:
        return before
    if lag <= LAG_LIMIT:
        return None
    away = heard is not None and seconds_since(heard, now) > HEARTBEAT_LATE_AFTER
    moments = [before, now - timedelta(seconds=lag), heard if away else None]
    return min(moment for moment in moments if moment is not None)


@dataclass(frozen=True)
class Sight:
    """What decides whether we can see: the monitor, its broker, and how far it is behind.

    `broker_ok` is None where nobody has asked the broker yet; `lag` is seconds
    or None, `behind_since` when that began, where the monitor said so;
    `last_gap` is the end of the latest span known to be missing.
    """

    anything_seen: bool
    monitor: Heartbeat | None
    broker_ok: bool | None
    broker_since: datetime | None
    lag: float | None
    last_gap: datetime | None
    behind_since: datetime | None = None


@dataclass(frozen=True)
class Verdict:
    """The word of the system, since when, and why."""

    word: Word
    since: datetime | None = None
    reason: Reason | None = None


def verdict(sight: Sight, now: datetime) -> Verdict:
    """Blind if the record can't be trusted now, ready if nothing has ever been seen, else quiet."""
    if not sight.anything_seen:
        return Verdict("ready")
    if heartbeat_state(sight.monitor, now) != "online":
        return Verdict("blind", sight.monitor.at if sight.monitor else None, "monitor")
    if sight.broker_ok is False:
        return Verdict("blind", sight.broker_since, "broker")
    if sight.lag is not None and sight.lag > LAG_LIMIT:
        return Verdict("blind", sight.behind_since or now - timedelta(seconds=sight.lag), "lag")
    return Verdict("quiet", sight.last_gap)


QueueState = Literal["healthy", "late", "none", "paused", "idle", "unknown"]


def queue_state(
    *,
    depth: int | None,
    oldest: float | None,
    target: float | None,
    served: bool,
    moving: bool,
    paused: bool = False,
) -> QueueState:
    """How a queue stands; `served`: an online worker takes from it; `moving`: jobs came or went lately.

    What a person has paused is neither late nor without workers.
    """
    if paused:
        return "paused"
    if depth is None:
        return "unknown"
    if depth > 0 and not served:
        return "none"
    if oldest is not None and target is not None and oldest > target:
        return "late"
    return "healthy" if depth > 0 or moving else "idle"


def slots_by_queue(workers: Iterable[Worker]) -> dict[str, int | None]:
    """How many slots serve each queue; None where a worker did not tell its slots.

    A worker that did not tell its queues counts for none of them.
    """
    return _by_queue((queues_of(worker), worker.slots) for worker in workers)


def busy_by_queue(workers: Iterable[Worker]) -> dict[str, int | None]:
    """How many of those slots are busy, with jobs of whatever queue; None where a worker did not tell."""
    return _by_queue((queues_of(worker), worker.busy) for worker in workers)


def _by_queue(told: Iterable[tuple[list[str], int | None]]) -> dict[str, int | None]:
    """The sum for each queue; None where one of its numbers is not known."""
    sums: dict[str, int | None] = defaultdict(int)
    for queues, number in told:
        for queue in queues:
            before = sums[queue]
            sums[queue] = None if before is None or number is None else before + number
    return dict(sums)


def queues_of(worker: Worker) -> list[str]:
    """The queues that a worker takes from; empty if it did not tell."""
    return [name for name in (worker.queues or "").split(",") if name]
