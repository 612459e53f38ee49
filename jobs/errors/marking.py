"""Which jobs errors have to hear of: pure, and all that errors cost the record's writer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jobs.lifecycle import Job
from jobs.store.tables import Row

FAILED = "failed"


def ungrouped_rows(
    cluster_id: int, mark: str, before: Mapping[str, Job], after: Mapping[str, Job]
) -> list[Row]:
    """A row, in the order of tables' "ungrouped", for each job whose failure has come, changed or gone."""
    return [
        [job.id, mark, cluster_id] for task_id, job in after.items() if _has_moved(before.get(task_id), job)
    ]


def _has_moved(before: Job | None, after: Job) -> bool:
    if after.state != FAILED:
        return before is not None and before.state == FAILED
    return before is None or failure_of(before) != failure_of(after) or _tells_more(after)


def failure_of(job: Job) -> tuple[Any, ...] | None:
    """All that says in which error, and when, a job is counted; None if it hasn't failed."""
    end = job.deciding
    if job.state != FAILED or end is None:
        return None
    return job.task, job.queue, job.release, job.ended_at, end.retries, end.delivery, end.exception


def _tells_more(job: Job) -> bool:
    """Of what is held no traceback is: one that is there has just been told."""
    return job.deciding is not None and job.deciding.traceback is not None
