"""When a schedule runs next: the answer of the code that Beat decides by."""

from __future__ import annotations

from datetime import datetime

from django_celery_beat.models import PeriodicTask

from jobs.ticks.deciding import next_fire
from jobs.ticks.plans import UNREADABLE, beginning, plan_of, policy_of, problem, timeline_of

__all__ = ["next_run", "problem"]


def next_run(task: PeriodicTask, now: datetime) -> datetime | None:
    """When Beat sends this schedule's next job; None if never, or if it can't be read.

    What is overdue runs `now`. `now` is an aware datetime, and so is the answer.
    """
    if not task.enabled or problem(task) or is_done(task, now):
        return None
    try:
        begin = beginning(task, timeline_of(task), now)
        moment = next_fire(plan_of(task, begin, policy_of(task)), begin)
    except UNREADABLE:
        return None
    return None if moment is None else max(moment, now)


def is_done(task: PeriodicTask, now: datetime) -> bool:
    """Whether it has had its time."""
    return bool(task.one_off and task.total_run_count > 0) or bool(task.expires and now >= task.expires)
