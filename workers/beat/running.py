"""Which jobs of a schedule have not ended, as far as is known."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime, timedelta

from celery import states
from django_celery_results.models import TaskResult

from jobs.models import ENDED, Cluster, Job, Outgoing, Tick

# Of a job that nobody has heard of yet; the record may be behind.
UNHEARD_FOR = timedelta(minutes=10)
# A job that was not heard of for so long holds up no other.
HEARD_WITHIN = timedelta(hours=24)
LATEST = 5


def running_jobs(schedules: Iterable[int], now: datetime) -> dict[int, str]:
    """For each schedule one of its latest jobs that has not ended; none for the others."""
    latest = {pk: _latest(pk) for pk in schedules}
    if not latest:
        return {}
    fired = {task_id: at for ticks in latest.values() for task_id, at in ticks}
    open_jobs = _open(fired, now)
    running = {
        pk: next((task_id for task_id, _ in ticks if task_id in open_jobs), None)
        for pk, ticks in latest.items()
    }
    return {pk: task_id for pk, task_id in running.items() if task_id is not None}


def _latest(schedule: int) -> list[tuple[str, datetime]]:
    ticks = Tick.objects.filter(schedule=schedule, task_id__isnull=False).order_by("-due")
    return [(row.task_id or "", row.fired_at or row.known_at) for row in ticks[:LATEST]]


def _open(fired: dict[str, datetime], now: datetime) -> Collection[str]:
    ids = list(fired)
    waiting = set(Outgoing.objects.filter(task_id__in=ids).values_list("task_id", flat=True))
    results = TaskResult.objects.filter(task_id__in=ids, status__in=states.READY_STATES)
    ended = set(results.values_list("task_id", flat=True))
    rows = Job.objects.filter(cluster=Cluster.DEFAULT_ID, task_id__in=ids)
    jobs = rows.values_list("task_id", "state", "seen_at")
    known = {task_id: _is_open(state, seen_at, now) for task_id, state, seen_at in jobs}
    young = {task_id for task_id, at in fired.items() if at > now - UNHEARD_FOR}
    heard_open = {task_id for task_id, is_open in known.items() if is_open}
    return (waiting | heard_open | (young - known.keys())) - ended


def _is_open(state: str, seen_at: datetime, now: datetime) -> bool:
    return state not in ENDED and seen_at > now - HEARD_WITHIN
