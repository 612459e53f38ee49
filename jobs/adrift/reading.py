"""Which jobs are adrift, read from the record in one bounded look."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

from django.db.models import F, Max

from jobs.adrift.rules import (
    LOST_GRACE,
    SETTLED_AFTER,
    Finding,
    OpenJob,
    QueueEvidence,
    Usual,
    lost,
    may_be_stuck,
    may_read,
    orphaned,
    stuck,
    waits_untouched,
)
from jobs.liveness import seconds_since, worker_state
from jobs.models import Bucket, Gap, Job, Outgoing, Pause, Quarantine, QueueSample, Standing, State, Worker
from jobs.rollups import Sketch, Sketches
from jobs.store.arrivals import first_since
from jobs.trust import Trust, read_trust

# The oldest of each state are looked at, of so many queues; beyond that a count is "at least".
MOST_OPEN, MOST_WAITING, MOST_QUEUES = 300, 100, 200
MOST_WORKERS, MOST_TASKS, MOST_BUCKETS = 1_000, 50, 2_000
NEWEST = 50
# So many jobs may have been told of late, and stand among younger ones.
TOLD_LATE = 50
USUAL_DAYS = 7
# Whether a queue was empty is asked of the samples of so long.
EMPTIED_WITHIN = timedelta(minutes=10)
FIELDS = (
    "id", "task_id", "task", "queue", "state", "worker", "attempts",
    "published_at", "eta", "received_at", "started_at",
)  # fmt: skip
Found = list[tuple[OpenJob, Finding]]


@dataclass(frozen=True)
class Looked:
    """What one look has found; `more`: there were more jobs than it looks at."""

    found: Found
    more: bool


def look(cluster_id: int, now: datetime) -> Looked | None:
    """The jobs adrift among the oldest that are open; None while nothing can be told. For the monitor."""
    trust = read_trust(cluster_id, now)
    if trust.is_blind:
        return None
    emptied, missing = _emptied(cluster_id, now), Missing.read(cluster_id)
    running, received = (_oldest(cluster_id, state, missing) for state in (State.RUNNING, State.RECEIVED))
    queued = {queue: _oldest_queued(cluster_id, queue, missing) for queue in sorted(emptied)[:MOST_QUEUES]}
    taken = [job for job in (*running, *received) if missing.spares(job)]
    found = [*_among_taken(cluster_id, taken, trust.as_of)]
    found += _lost(cluster_id, _may_be_lost(queued, trust.as_of), emptied, missing, trust)
    full = max(len(running), len(received)) >= MOST_OPEN or len(emptied) > MOST_QUEUES
    return Looked(found, full or any(len(jobs) >= MOST_WAITING for jobs in queued.values()))


@dataclass(frozen=True)
class Missing:
    """When an event was last lost, or could not be read; None if none ever was."""

    cluster_id: int
    at: datetime | None

    @classmethod
    def read(cls, cluster_id: int) -> Missing:
        gaps = Gap.objects.filter(cluster=cluster_id).order_by("-ended_at").annotate(at=F("ended_at"))
        odd = Quarantine.objects.filter(cluster=cluster_id).order_by("-last_at").annotate(at=F("last_at"))
        moments = [*gaps.values_list("at", flat=True)[:1], *odd.values_list("at", flat=True)[:1]]
        return cls(cluster_id, max(moments, default=None))

    def spares(self, job: OpenJob) -> bool:
        """Whether no event is known to be missing since the job was taken: its end may have been one."""
        return self.at is None or (job.taken_at is not None and self.at < job.taken_at)

    @cached_property
    def number(self) -> int:
        """From about which number on jobs are younger."""
        return 0 if self.at is None else first_since(self.cluster_id, self.at, TOLD_LATE)


# Orphaned and stuck


def _oldest(cluster_id: int, state: State, missing: Missing) -> list[OpenJob]:
    return _oldest_of(Standing.objects.filter(cluster=cluster_id, state=state), MOST_OPEN, missing)


def _oldest_of(standings: Any, most: int, missing: Missing) -> list[OpenJob]:
    """The oldest; where all are older than what is missing, and so tell nothing, the first after it, too."""
    jobs = _jobs_of(standings, most)
    if len(jobs) < most or jobs[-1].id >= missing.number:
        return jobs
    return [*jobs, *_jobs_of(standings.filter(job_id__gt=jobs[-1].id, job_id__gte=missing.number), most)]


def _jobs_of(standings: Any, most: int) -> list[OpenJob]:
    """The oldest; the states of the job itself, which may be younger than what stands beside it."""
    rows = standings.order_by("job_id").values_list(*(f"job__{name}" for name in FIELDS))
    return [OpenJob(*row) for row in rows[:most]]


def _among_taken(
    cluster_id: int, jobs: Sequence[OpenJob], as_of: datetime
) -> Iterator[tuple[OpenJob, Finding]]:
    incarnations = _incarnations(cluster_id, {job.worker for job in jobs if job.worker is not None})
    left: list[OpenJob] = []
    for job in jobs:
        found = orphaned(job, incarnations[job.worker or ""], as_of)
        if found is not None:
            yield job, found
        elif may_be_stuck(job, as_of):
            left.append(job)
    usual = _usual(cluster_id, [job.task for job in left if job.task is not None], as_of)
    for job in left:
        told = stuck(job, incarnations[job.worker or ""], usual.get(job.task or "", Usual()), as_of)
        if told is not None:
            yield job, told


def _incarnations(cluster_id: int, names: Collection[str]) -> Mapping[str, list[Worker]]:
    """Those of each name, the latest heard."""
    found: dict[str, list[Worker]] = defaultdict(list)
    if names:
        known = Worker.objects.filter(cluster=cluster_id, name__in=names)
        for worker in known.order_by("-seen_at")[:MOST_WORKERS]:
            found[worker.name].append(worker)
    return found


def _usual(cluster_id: int, tasks: Iterable[str], as_of: datetime) -> dict[str, Usual]:
    """How long jobs of these tasks ran in the last days, from buckets of days."""
    asked = list(dict.fromkeys(tasks))[:MOST_TASKS]
    if not asked:
        return {}
    today = int(as_of.timestamp() // Bucket.DAY)
    days = list(range(today - USUAL_DAYS + 1, today + 1))
    rows = Bucket.objects.filter(cluster=cluster_id, tier=Bucket.DAY, start__in=days, task__in=asked)
    sketches: dict[str, Sketch] = defaultdict(Sketch)
    for task, text in rows.order_by().values_list("task", "sketches")[:MOST_BUCKETS]:
        sketches[task].merge(Sketches.loads(text).ended("run"))
    return {task: Usual(sketch.quantile(0.99), sketch.count) for task, sketch in sketches.items()}


# Lost


def _emptied(cluster_id: int, now: datetime) -> dict[str, datetime]:
    """When each queue was last seen empty, lately, and long enough ago that a receipt would be recorded."""
    settled = now - timedelta(seconds=SETTLED_AFTER)
    lately = QueueSample.objects.filter(cluster=cluster_id, at__gte=now - EMPTIED_WITHIN, at__lte=settled)
    lately = lately.filter(depth=0)
    return dict(lately.order_by().values_list("queue").annotate(Max("at")))


def _oldest_queued(cluster_id: int, queue: str, missing: Missing) -> list[OpenJob]:
    waiting = Standing.objects.filter(cluster=cluster_id, queue=queue, state=State.QUEUED)
    return _oldest_of(waiting, MOST_WAITING, missing)


def _may_be_lost(queued: Mapping[str, Sequence[OpenJob]], as_of: datetime) -> Mapping[str, Sequence[OpenJob]]:
    """Those that have waited for long, and for their first worker alone."""
    kept = {queue: [job for job in jobs if _waits_long(job, as_of)] for queue, jobs in queued.items()}
    return {queue: jobs for queue, jobs in kept.items() if jobs}


def _waits_long(job: OpenJob, as_of: datetime) -> bool:
    old = job.published_at is not None and seconds_since(job.published_at, as_of) > LOST_GRACE
    return old and waits_untouched(job)


def _lost(
    cluster_id: int,
    waiting: Mapping[str, Sequence[OpenJob]],
    emptied: Mapping[str, datetime],
    missing: Missing,
    trust: Trust,
) -> Found:
    jobs = [job for of_queue in waiting.values() for job in of_queue]
    if not jobs:
        return []
    known = _Known.read(cluster_id, waiting, missing.at)
    found = [(job, told) for job in jobs if (told := _judged(job, known, emptied, trust.as_of))]
    return _not_in_the_outbox(found)


@dataclass(frozen=True)
class _Known:
    """What bears on all these jobs: who is paused, who may have read, what is missing, what was taken."""

    paused: Collection[str]
    workers: Sequence[Worker]
    missing: datetime | None
    taken: Mapping[str, Sequence[tuple[int, datetime]]]

    @classmethod
    def read(
        cls, cluster_id: int, waiting: Mapping[str, Sequence[OpenJob]], missing: datetime | None
    ) -> _Known:
        jobs = [job for of_queue in waiting.values() for job in of_queue]
        since = min(job.published_at for job in jobs if job.published_at is not None)
        heard = Worker.objects.filter(cluster=cluster_id, seen_at__gte=since).order_by("-seen_at")
        return cls(
            paused=set(Pause.objects.filter(cluster=cluster_id).values_list("queue", flat=True)),
            workers=list(heard[: MOST_WORKERS + 1]),
            missing=missing,
            taken={queue: _newest_taken(cluster_id, queue) for queue in waiting},
        )


def _newest_taken(cluster_id: int, queue: str) -> list[tuple[int, datetime]]:
    """The newest jobs of a queue that a worker took: number, and when they were published."""
    newest = Job.objects.filter(cluster=cluster_id, queue=queue).order_by("-id")
    rows = newest.values_list("id", "published_at", "attempts")[:NEWEST]
    return [(number, published) for number, published, attempts in rows if attempts and published]


def _judged(job: OpenJob, known: _Known, emptied: Mapping[str, datetime], as_of: datetime) -> Finding | None:
    published, queue = job.published_at, job.queue
    if published is None or queue is None or len(known.workers) > MOST_WORKERS:
        return None
    heard = [one for one in known.workers if one.seen_at >= published and may_read(one, queue)]
    evidence = QueueEvidence(
        emptied_at=emptied.get(queue),
        readers=[(one, worker_state(one, as_of)) for one in heard],
        paused=queue in known.paused,
        complete=known.missing is None or known.missing < published,
        passed=any(number > job.id and at > published for number, at in known.taken.get(queue, ())),
    )
    return lost(job, evidence, as_of)


def _not_in_the_outbox(found: Found) -> Found:
    """Without those whose message is only on its way."""
    ids = [job.task_id for job, _ in found]
    kept = set(Outgoing.objects.filter(task_id__in=ids).values_list("task_id", flat=True)) if ids else set()
    return [(job, told) for job, told in found if job.task_id not in kept]
