"""Where the page of a job, a queue or a worker is: their names are any text, so not each fits into a path."""

from __future__ import annotations

import base64
import binascii
import re

from django.http import QueryDict
from django.urls import reverse

from dashboard.formats import queue_place
from jobs.models import Cluster, Job, Worker


class TaskId:
    """A path part that is a task id as it stands; "." and ".." mean something else in a path."""

    regex = r"(?!\.{1,2}/)[A-Za-z0-9_.:@-]{1,255}"

    def to_python(self, value: str) -> str:
        return value

    def to_url(self, value: str) -> str:
        return value


class QueueName:
    """A path part that is a queue's name; one that doesn't read well there is "~" and its base64."""

    regex = r"(?!\.{1,2}/)[A-Za-z0-9_.:@-]{1,255}|~[A-Za-z0-9_-]{1,1400}"

    def to_python(self, value: str) -> str:
        if not value.startswith("~"):
            return value
        try:
            name = base64.urlsafe_b64decode(value[1:] + "=" * (-len(value[1:]) % 4)).decode()
        except (binascii.Error, UnicodeDecodeError):
            raise ValueError from None
        if self.to_url(name) != value:
            raise ValueError
        return name

    def to_url(self, value: str) -> str:
        return queue_place(value)


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


def worker_address(worker: Worker) -> str:
    """By name where that is readable, else by number."""
    if READABLE.fullmatch(worker.name):
        return reverse("worker", args=[worker.name])
    return reverse("worker-by-number", args=[worker.pk])
