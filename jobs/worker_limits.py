"""What the setups of the workers limit, and put at risk: pure findings over what they tell of themselves."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from jobs.known_faults import FAULTS, Effect, Fault, known_faults, mended_in
from jobs.limits import Limit, Tone
from jobs.liveness import WorkerState
from jobs.models import Worker
from jobs.worker_facts import RabbitFacts, Setup

# Those whose faults are known.
PACKAGES = ("celery", "kombu")
# Which time limits a pool can enforce. Of a pool that is not here nobody knows.
ENFORCED: Mapping[str, frozenset[str]] = {
    "prefork": frozenset({"hard", "soft"}),
    "gevent": frozenset({"hard"}),
    "eventlet": frozenset(),
    "threads": frozenset(),
    "solo": frozenset(),
}


@dataclass(frozen=True)
class KnownWorker:
    """A worker, its state, and its setup as far as it was told."""

    worker: Worker
    state: WorkerState
    setup: Setup | None


def worker_limits(workers: Sequence[KnownWorker]) -> Iterator[Limit]:
    """All findings about these workers, in no order."""
    yield from _of_the_workers(workers)
    yield from _of_versions(workers)


def _of_the_workers(workers: Sequence[KnownWorker]) -> Iterator[Limit]:
    for finding in WORKER_FINDINGS:
        concerned = [(known, numbers) for known in workers if (numbers := finding.of(known)) is not None]
        if concerned:
            yield Limit(
                finding.code,
                finding.effect,
                finding.tone,
                since_of(known.worker for known, _ in concerned),
                summed(numbers for _, numbers in concerned),
                tuple(known.worker.name for known, _ in concerned),
            )


@dataclass(frozen=True)
class Affected:
    """A known fault, the versions here that have it, and the workers that run them."""

    fault: Fault
    versions: tuple[str, ...]
    workers: tuple[Worker, ...]


def affected(workers: Iterable[KnownWorker]) -> list[Affected]:
    """The known faults of the releases that run, those that limit sight first."""
    found: dict[Fault, list[tuple[str, Worker]]] = defaultdict(list)
    for known in workers:
        for package in PACKAGES:
            version = getattr(known.setup, package, None) or ""
            for fault in known_faults(package, version) or ():
                found[fault].append((version, known.worker))
    return [
        Affected(
            fault, tuple(sorted({version for version, _ in users})), tuple(worker for _, worker in users)
        )
        for fault, users in sorted(found.items(), key=lambda pair: FAULTS.index(pair[0]))
    ]


def _of_versions(workers: Sequence[KnownWorker]) -> Iterator[Limit]:
    """One finding for each package and effect."""
    grouped: dict[tuple[str, Effect], list[Affected]] = defaultdict(list)
    for hit in affected(workers):
        grouped[(hit.fault.package, hit.fault.effect)].append(hit)
    for (package, effect), hits in grouped.items():
        users = {worker.producer: worker for hit in hits for worker in hit.workers}
        versions = sorted({version for hit in hits for version in hit.versions})
        numbers = {"package": package, "version": ", ".join(versions), "faults": len(hits)}
        yield Limit(
            f"faults-{effect}",
            effect,
            "warn",
            since_of(users.values()),
            {**numbers, "mended": mended_in(hit.fault for hit in hits)},
            tuple(worker.name for worker in users.values()),
        )


def since_of(workers: Iterable[Worker]) -> datetime | None:
    """Since when the first of them is there."""
    return min((worker.online_at for worker in workers if worker.online_at is not None), default=None)


def summed(told: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """Counts are summed; of times (named `…timeout` and `longest`) the shortest and the longest count."""
    whole: dict[str, float] = {}
    for numbers in told:
        for name, value in numbers.items():
            whole[name] = _together(name)(whole.get(name, value), value) if name in whole else value
    return whole


def _together(name: str) -> Callable[[float, float], float]:
    if name.endswith("timeout"):
        return min
    return max if name == "longest" else lambda one, other: one + other


@dataclass(frozen=True)
class WorkerFinding:
    """What to look for in a worker: `of` gives its numbers, or None where it is not so, or not known."""

    code: str
    effect: Effect
    tone: Tone
    of: Callable[[KnownWorker], dict[str, float] | None]


def _events_off(known: KnownWorker) -> dict[str, float] | None:
    return {} if known.worker.events is False else None


def _silent_tasks(known: KnownWorker) -> dict[str, float] | None:
    silent = known.setup.tasks.silent if known.setup else None
    return {"tasks": silent} if silent else None


def _unstamped(known: KnownWorker) -> dict[str, float] | None:
    worker = known.worker
    return {"unstamped": worker.unstamped, "received": worker.received or 0} if worker.unstamped else None


def _faults(known: KnownWorker) -> dict[str, float] | None:
    return {"faults": known.worker.faults} if known.worker.faults else None


def _dropped(known: KnownWorker) -> dict[str, float] | None:
    return {"dropped": known.worker.dropped} if known.worker.dropped else None


def _setup_unknown(known: KnownWorker) -> dict[str, float] | None:
    return {} if known.setup is None else None


def outlives_its_message(setup: Setup | None) -> bool | None:
    """Whether a job acknowledged late may run longer than its broker waits; None if that can't be known."""
    if setup is None or setup.tasks.late is None:
        return None
    return setup.visibility_timeout is not None and _outlasts(setup, setup.visibility_timeout)


def _outlasts(setup: Setup, seconds: float) -> bool:
    """Whether a job acknowledged late may run for as long as that."""
    unbounded = bool(setup.tasks.late_unlimited) or can_enforce(setup, "hard") is False
    return bool(setup.tasks.late) and (unbounded or (setup.tasks.late_longest or 0.0) >= seconds)


def _outlives(known: KnownWorker) -> dict[str, float] | None:
    setup = known.setup
    if setup is None or not outlives_its_message(setup):
        return None
    return {"tasks": setup.tasks.late or 0, "timeout": setup.visibility_timeout or 0.0}


def _rabbit(known: KnownWorker) -> RabbitFacts | None:
    return known.setup.rabbitmq if known.setup else None


def _outlives_consumer(known: KnownWorker) -> dict[str, float] | None:
    """Of queues that declare nothing the server's own timeout counts, which nobody here knows."""
    rabbit, setup = _rabbit(known), known.setup
    if setup is None or rabbit is None or rabbit.consumer_timeout is None:
        return None
    risky = _outlasts(setup, rabbit.consumer_timeout)
    return {"tasks": setup.tasks.late or 0, "timeout": rabbit.consumer_timeout} if risky else None


def _queues_that(count: str) -> Callable[[KnownWorker], dict[str, float] | None]:
    def of(known: KnownWorker) -> dict[str, float] | None:
        queues = getattr(_rabbit(known), count, None)
        return {"queues": queues} if queues else None

    return of


def _unprioritised(known: KnownWorker) -> dict[str, float] | None:
    rabbit = _rabbit(known)
    if rabbit is None or rabbit.queues is None or rabbit.prioritised is None:
        return None
    return {"queues": rabbit.queues - rabbit.prioritised} if rabbit.prioritised < rabbit.queues else None


def _unconfirmed(known: KnownWorker) -> dict[str, float] | None:
    rabbit = _rabbit(known)
    return {} if rabbit is not None and rabbit.confirms is False else None


def _early(known: KnownWorker) -> dict[str, float] | None:
    tasks = known.setup.tasks if known.setup else None
    if tasks is None or tasks.total is None or tasks.late is None or tasks.total <= tasks.late:
        return None
    return {"tasks": tasks.total - tasks.late}


def can_enforce(setup: Setup | None, kind: Literal["hard", "soft"]) -> bool | None:
    """Whether the pool can end (hard) or warn (soft) a job at its limit; None if nobody knows."""
    enforced = ENFORCED.get(setup.pool or "") if setup else None
    return None if enforced is None else kind in enforced


def _hard_unenforced(known: KnownWorker) -> dict[str, float] | None:
    limited = known.setup.tasks.limited if known.setup else None
    return {"tasks": limited} if limited and can_enforce(known.setup, "hard") is False else None


def _soft_unenforced(known: KnownWorker) -> dict[str, float] | None:
    limited = known.setup.tasks.soft_limited if known.setup else None
    unenforced = can_enforce(known.setup, "soft") is False and can_enforce(known.setup, "hard") is True
    return {"tasks": limited} if limited and unenforced else None


def _requeues(known: KnownWorker) -> dict[str, float] | None:
    return {} if known.setup and known.setup.requeues_lost else None


def _prefetches(known: KnownWorker) -> dict[str, float] | None:
    prefetch = known.setup.prefetch if known.setup else None
    return {"longest": prefetch} if prefetch is not None and prefetch > 1 else None


def _prefetches_all(known: KnownWorker) -> dict[str, float] | None:
    return {} if known.setup and known.setup.prefetch == 0 else None


WORKER_FINDINGS = (
    WorkerFinding("events-off", "sight", "bad", _events_off),
    WorkerFinding("dropped", "sight", "warn", _dropped),
    WorkerFinding("recorder-faults", "sight", "warn", _faults),
    WorkerFinding("silent-tasks", "sight", "warn", _silent_tasks),
    WorkerFinding("unstamped", "sight", "warn", _unstamped),
    WorkerFinding("setup-unknown", "sight", "idle", _setup_unknown),
    WorkerFinding("outlives", "jobs", "warn", _outlives),
    WorkerFinding("outlives-consumer", "jobs", "warn", _outlives_consumer),
    WorkerFinding("transient", "jobs", "warn", _queues_that("transient")),
    WorkerFinding("overflows", "jobs", "warn", _queues_that("overflowing")),
    WorkerFinding("hard-unenforced", "jobs", "warn", _hard_unenforced),
    WorkerFinding("soft-unenforced", "jobs", "idle", _soft_unenforced),
    WorkerFinding("requeues-lost", "jobs", "warn", _requeues),
    WorkerFinding("prefetches-all", "jobs", "warn", _prefetches_all),
    WorkerFinding("prefetches", "jobs", "idle", _prefetches),
    WorkerFinding("early-acks", "jobs", "idle", _early),
    WorkerFinding("unconfirmed", "jobs", "idle", _unconfirmed),
    WorkerFinding("unprioritised", "jobs", "idle", _unprioritised),
)
