"""What the palette finds: pages, and by name what the record knows of lately, within the visitor's reach."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.contrib.auth.models import User
from django.urls import reverse
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy
from django_celery_beat.models import PeriodicTask

from dashboard.addresses import job_address, worker_address
from dashboard.pages import pages_for
from dashboard.schedule_rows import queue_of
from jobs import search
from jobs.models import Job, Worker
from jobs.scopes import Scope

MOST = 6  # of each kind
WORKERS_LOOKED_AT, SCHEDULES_LOOKED_AT = 1_000, 2_000
HEARD_WITHIN = timedelta(days=1)
# The beginning of an id, long enough that few have it. Any collation has such ids side by side.
BEGINNING = re.compile(r"[0-9a-f]{6}[0-9a-f-]{0,29}")


@dataclass(frozen=True)
class Found:
    """Something with a page: what kind of thing, what it is called, and its address."""

    kind: str | Promise
    name: str
    address: str


@dataclass(frozen=True)
class Asker:
    """Who asks, how far they see, and about which cluster."""

    user: User
    scope: Scope
    cluster_id: int


def find(text: str, asker: Asker, now: datetime) -> list[Found]:
    """What this text may mean, at most MOST of a kind; all pages for an empty one. Four statements."""
    wanted = text.strip().casefold()
    pages = [
        Found(gettext_lazy("Page"), str(page.title), reverse(page.name)) for page in pages_for(asker.user)
    ]
    if not wanted:
        return pages
    matching = [page for page in pages if wanted in page.name.casefold()]
    return [*_jobs(text.strip(), asker), *matching, *_named(wanted, asker, now)]


def _named(wanted: str, asker: Asker, now: datetime) -> Iterator[Found]:
    known = search.names(asker.cluster_id, asker.user, now)
    declared = [name for name in settings.QUEUES if asker.scope.covers_queue(name)]
    for name in best({*known.queues, *declared}, wanted):
        yield Found(gettext_lazy("Queue"), name, reverse("queue", args=[name]))
    for name in best(known.tasks, wanted):
        yield Found(gettext_lazy("Task"), name, reverse("task", args=[name]))
    workers = _workers(asker, now)
    for name in best(workers, wanted):
        yield Found(gettext_lazy("Worker"), name, worker_address(workers[name]))
    schedules = _schedules(asker)
    for name in best(schedules, wanted):
        yield Found(gettext_lazy("Schedule"), name, reverse("schedule", args=[schedules[name]]))


def best(names: Iterable[str], wanted: str) -> list[str]:
    """The names that hold what is wanted, first those whose last part begins with it, then the shortest."""
    holding = [name for name in names if wanted in name.casefold()]
    return sorted(holding, key=lambda name: (not _last_part(name).startswith(wanted), len(name), name))[:MOST]


def _last_part(name: str) -> str:
    return name.casefold().rpartition(".")[2]


def _workers(asker: Asker, now: datetime) -> dict[str, Worker]:
    """The latest incarnation by name."""
    lately = Worker.objects.visible_to(asker.user).filter(
        cluster=asker.cluster_id, seen_at__gte=now - HEARD_WITHIN
    )
    newest = lately.only("pk", "name").order_by("-seen_at")[:WORKERS_LOOKED_AT]
    return {worker.name: worker for worker in reversed(newest)}


def _schedules(asker: Asker) -> dict[str, int]:
    rows = PeriodicTask.objects.only("pk", "name", "task", "queue").order_by("pk")[:SCHEDULES_LOOKED_AT]
    return {row.name: row.pk for row in rows if asker.scope.covers(row.task, queue_of(row))}


def _jobs(text: str, asker: Asker) -> list[Found]:
    """The job with this id, or those whose ids begin so."""
    rows = Job.objects.visible_to(asker.user).filter(cluster=asker.cluster_id).select_related("cluster")
    begins = text.lower()
    if BEGINNING.fullmatch(begins):
        # What may follow is a digit, a letter up to f or a dash: in any order of signs before "g".
        beyond = begins + "g"
        near = rows.filter(task_id__gte=begins, task_id__lt=beyond).order_by("task_id")[:MOST]
        found = [job for job in near if job.task_id.startswith(begins)]
    else:
        found = list(rows.filter(task_id=text)[:1])
    return [Found(gettext_lazy("Job"), _called(job), job_address(job)) for job in found]


def _called(job: Job) -> str:
    return f"{job.task_id} {job.task or ''}".strip()
