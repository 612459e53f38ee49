"""What the overview shows, read at one moment; its cost does not grow with the number of jobs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property

from django.db.models import Exists, OuterRef, Q

from jobs import history
from jobs.history import Memory, QueueMinute, Traffic
from jobs.liveness import WorkerState, worker_states
from jobs.models import Job, Pause, Standing, State, Worker
from jobs.rollups import Sketch
from jobs.scopes import EVERYTHING, Scope
from jobs.trust import Trust, fresh, read_trust

LATEST_FAILURES = 8
FAILURES_LOOKED_AT = 1_000
MOST_WORKERS = 1_000
DEAD_SHOWN_FOR = timedelta(hours=24)
CHANGES_OF = timedelta(hours=2)


@dataclass(frozen=True)
class Seen:
    """All that the overview needs. Minutes are counted since the epoch.

    What only some pages show (`latency`, `busy`, `failures`) is read when it is asked for.
    """

    cluster_id: int
    now: datetime
    scope: Scope
    memory: Memory
    trust: Trust
    traffic: Traffic
    samples: Mapping[int, Mapping[str, QueueMinute]]
    workers: Sequence[tuple[Worker, WorkerState]]
    pauses: Mapping[str, Pause]
    anything: bool
    # Each incarnation that is there, should be there, or left lately.
    incarnations: Sequence[Worker] = ()

    @cached_property
    def latency(self) -> Mapping[int, Sketch]:
        """From queued to complete, by minute."""
        return history.read_latency(self.cluster_id, self.traffic.minutes, self.memory, self.scope)

    @cached_property
    def busy(self) -> Mapping[int, float | None]:
        """The share of busy slots, by minute."""
        return history.read_busy(self.cluster_id, self.now, self.memory)

    @cached_property
    def failures(self) -> Sequence[Job]:
        """The latest jobs that failed."""
        return _read_failures(self.cluster_id, self.scope)

    @property
    def at(self) -> float:
        """Seconds since the epoch."""
        return self.now.timestamp()

    @property
    def online(self) -> list[Worker]:
        """The workers that are there."""
        return [worker for worker, state in self.workers if state == "online"]

    @property
    def latest(self) -> dict[str, QueueMinute]:
        """The last sample of each queue, if it is fresh."""
        latest: dict[str, QueueMinute] = {}
        for minute in sorted(self.samples):
            latest.update(self.samples[minute])
        return {queue: sample for queue, sample in latest.items() if fresh(sample.at, self.now)}


def look(cluster_id: int, now: datetime, memory: Memory, scope: Scope = EVERYTHING) -> Seen:
    """Everything at once; finished minutes come from `memory`, which learns those it lacks."""
    memory = memory.within(scope)
    trust = read_trust(cluster_id, now)
    traffic = history.read_traffic(cluster_id, now.timestamp(), scope)
    incarnations = _read_incarnations(cluster_id, trust)
    workers = worker_states(_standing(incarnations), trust.as_of)
    memory.forget_before(history.window(now.timestamp()).start)
    return Seen(
        cluster_id=cluster_id,
        now=now,
        scope=scope,
        memory=memory,
        trust=trust,
        traffic=traffic,
        samples=history.read_queues(cluster_id, now, memory, scope),
        workers=workers,
        pauses=read_pauses(cluster_id),
        anything=bool(workers) or _any_job(cluster_id, traffic),
        incarnations=incarnations,
    )


def _any_job(cluster_id: int, traffic: Traffic) -> bool:
    return traffic.first_hour is not None or Job.objects.filter(cluster=cluster_id).exists()


def read_pauses(cluster_id: int) -> dict[str, Pause]:
    """The pauses by queue, also those that are just being lifted."""
    return {pause.queue: pause for pause in Pause.objects.filter(cluster=cluster_id)}


def _read_incarnations(cluster_id: int, trust: Trust) -> list[Worker]:
    """The workers that should be there, and those that left lately, the latest heard first; one statement."""
    heard = Worker.objects.filter(cluster=cluster_id, seen_at__gte=trust.as_of - DEAD_SHOWN_FOR)
    told = heard.filter(Q(offline_at=None) & ~_followed() | Q(offline_at__gte=trust.now - CHANGES_OF))
    return list(told.order_by("-seen_at")[: 2 * MOST_WORKERS])


def _followed() -> Exists:
    """Whether one of the same name came later, and has said goodbye: nobody waits for the one before."""
    later = Worker.objects.filter(
        cluster=OuterRef("cluster"), name=OuterRef("name"), seen_at__gt=OuterRef("seen_at")
    )
    return Exists(later.filter(offline_at__isnull=False))


def _standing(incarnations: Sequence[Worker]) -> list[Worker]:
    return [worker for worker in incarnations if worker.offline_at is None][:MOST_WORKERS]


def read_workers(cluster_id: int, trust: Trust) -> list[tuple[Worker, WorkerState]]:
    """Each worker that should be there, with its state, worst first; one statement."""
    standing = Worker.objects.filter(
        cluster=cluster_id, offline_at=None, seen_at__gte=trust.as_of - DEAD_SHOWN_FOR
    )
    there = standing.exclude(_followed())
    return worker_states(there.order_by("-seen_at")[:MOST_WORKERS], trust.as_of)


def _read_failures(cluster_id: int, scope: Scope) -> list[Job]:
    """The newest that the scope shows; where that is narrow, among the newest of all."""
    failed = Standing.objects.filter(cluster=cluster_id, state=State.FAILED).order_by("-job_id")
    if scope.spans is not None:
        rows = failed.values_list("job_id", "task", "queue")[:FAILURES_LOOKED_AT]
        failed = failed.filter(pk__in=[pk for pk, task, queue in rows if scope.covers(task, queue)])
    return [row.job for row in failed.select_related("job")[:LATEST_FAILURES]]
