"""Where a job's page is: task ids are any text, so not every one fits into a path."""

from __future__ import annotations

import re

from django.http import QueryDict
from django.urls import reverse

from jobs.models import Cluster, Job


class TaskId:
    """A path part that is a task id as it stands; "." and ".." mean something else in a path."""

    regex = r"(?!\.{1,2}/)[A-Za-z0-9_.:@-]{1,255}"

    def to_python(self, value: str) -> str:
        return value

    def to_url(self, value: str) -> str:
        return value


READABLE = re.compile(r"(?!\.{1,2}\Z)[A-Za-z0-9_.:@-]{1,255}")


def job_address(job: Job) -> str:
    """By task id where that is readable, else by number; with its cluster unless it is the default one."""
    if not READABLE.fullmatch(job.task_id):
        return reverse("job-by-number", args=[job.pk])
    address = reverse("job", args=[job.task_id])
    return address if job.cluster_id == Cluster.DEFAULT_ID else f"{address}?{_cluster(job.cluster.name)}"


def _cluster(name: str) -> str:
    query = QueryDict(mutable=True)
    query["cluster"] = name
    return query.urlencode()
