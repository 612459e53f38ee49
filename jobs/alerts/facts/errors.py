"""What tasks fail with: learned from the latest failures of those that failed just now."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from jobs.alerts.facts.buckets import read_failed
from jobs.alerts.shapes import ErrorFacts
from jobs.models import SeenError, Standing, State
from jobs.scopes import EXCEPTION_TYPE
from jobs.store.turns import written

# Failures are looked for in the buckets of these minutes.
LATELY = timedelta(minutes=2)
MOST_TASKS = 50
FAILURES_OF_A_TASK = 200
# What else a task fails with is kept as one error without a name.
ERRORS_OF_A_TASK = 200
SILENCE = timedelta(days=1)
# The latest failure is written down again only if it is so much later: nobody needs it to the second.
WRITTEN_EVERY = timedelta(minutes=1)
LONGEST_NAME = 120
NAMELESS = "?"

Key = tuple[str, str]
# How many failed, by minute since the epoch.
FailedBy = dict[int, int]


@dataclass(frozen=True)
class Failure:
    """A job that failed."""

    task: str
    queue: str | None
    exception: str | None
    at: datetime

    @property
    def key(self) -> Key:
        found = EXCEPTION_TYPE.match(self.exception or "")
        return self.task, found[0][:LONGEST_NAME] if found else NAMELESS


@dataclass
class Memory:
    """How often each task had failed, by minute, when its failures were last read; the latest is last."""

    failed: dict[str, FailedBy] = field(default_factory=dict)


def learn(cluster_id: int, now: datetime, memory: Memory) -> None:
    """Write down what the tasks that fail now have failed with. Nothing is read if none failed since."""
    failed = read_failed(cluster_id, now, LATELY)
    memory.failed = {task: known for task, known in memory.failed.items() if task in failed}
    for task in to_read(failed, memory.failed)[:MOST_TASKS]:
        _write(cluster_id, task, _read_failures(cluster_id, task))
        memory.failed.pop(task, None)
        memory.failed[task] = failed[task]


def _read_failures(cluster_id: int, task: str) -> list[Failure]:
    rows = Standing.objects.filter(cluster=cluster_id, state=State.FAILED, task=task).order_by("-job_id")
    told = rows.values_list("queue", "job__exception", "job__ended_at")[:FAILURES_OF_A_TASK]
    return [Failure(task, queue, exception, at) for queue, exception, at in told if at is not None]


def _write(cluster_id: int, task: str, failures: Sequence[Failure]) -> None:
    of_task = SeenError.objects.filter(cluster=cluster_id, task=task)
    names = {failure.key[1] for failure in failures} | {NAMELESS}
    known = {(row.task, row.exception): row for row in of_task.filter(exception__in=names)}
    if any(failure.key not in known for failure in failures) and of_task.count() >= ERRORS_OF_A_TASK:
        failures = without_new_names(failures, known)
    fresh, moved = seen(failures, known, cluster_id)
    if fresh or moved:
        with written():
            SeenError.objects.bulk_create(fresh, ignore_conflicts=True)
            SeenError.objects.bulk_update(moved, ["last_at", "returned_at", "queue"])


def read_errors(cluster_id: int, since: datetime) -> list[ErrorFacts]:
    """What was seen since then; one statement."""
    rows = SeenError.objects.filter(cluster=cluster_id, last_at__gte=since)
    return [
        ErrorFacts(row.task, row.exception, row.queue, row.first_at, row.last_at, row.returned_at)
        for row in rows
    ]


# Pure from here on


def to_read(failed: Mapping[str, FailedBy], known: Mapping[str, FailedBy]) -> list[str]:
    """The tasks that have failed since they were read: those that never were, then the longest not read."""
    read = {task: place for place, task in enumerate(known)}
    moved = (task for task in sorted(failed) if not failed[task].items() <= known.get(task, {}).items())
    return sorted(moved, key=lambda task: read.get(task, -1))


def without_new_names(failures: Iterable[Failure], known: Collection[Key]) -> list[Failure]:
    """The same, where an error that isn't known is nameless: names may be made up without end."""
    return [failure if failure.key in known else replace(failure, exception=None) for failure in failures]


def seen(
    failures: Iterable[Failure], known: dict[Key, SeenError], cluster_id: int
) -> tuple[list[SeenError], list[SeenError]]:
    """The errors that these failures bring, and the known ones that they move."""
    by_key: dict[Key, list[Failure]] = {}
    for failure in failures:
        by_key.setdefault(failure.key, []).append(failure)
    fresh = [_new(key, of_key, cluster_id) for key, of_key in by_key.items() if key not in known]
    moved = [known[key] for key, of_key in by_key.items() if key in known and _move(known[key], of_key)]
    return fresh, moved


def _new(key: Key, failures: list[Failure], cluster_id: int) -> SeenError:
    moments = [failure.at for failure in failures]
    queues = {failure.queue for failure in failures}
    return SeenError(
        cluster_id=cluster_id,
        task=key[0],
        exception=key[1],
        queue=queues.pop() if len(queues) == 1 else None,
        first_at=min(moments),
        last_at=max(moments),
    )


def _move(error: SeenError, failures: list[Failure]) -> bool:
    """Bring a known error up to these failures; whether that is worth writing."""
    later = sorted(failure.at for failure in failures if failure.at > error.last_at)
    if not later or (later[-1] - error.last_at < WRITTEN_EVERY):
        return False
    if later[0] - error.last_at >= SILENCE:
        error.returned_at = later[0]
    if any(failure.queue != error.queue for failure in failures):
        error.queue = None
    error.last_at = later[-1]
    return True
