"""The buttons on the page of a job: which of them are off, and why."""

from __future__ import annotations

from dataclasses import dataclass

from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext as _

from dashboard.visitors import hindrance
from jobs.models import ENDED, Job, Revocation, State
from jobs.perform import Refused
from workers.commands.jobs import Rerun, Retry, Revoke, Terminate, payload_of
from workers.eligibility import why_not_rerun, why_not_retry, why_not_revoke, why_not_terminate, worker_of
from workers.second_lives import why_not_now


@dataclass(frozen=True)
class Buttons:
    """Why each button is off, in a sentence; "" where it is on. `asks`: a retry is to be confirmed."""

    retry: str
    rerun: str
    revoke: str
    terminate: str
    ended: bool
    runs: bool
    asks: bool


def buttons(request: HttpRequest, job: Job) -> Buttons:
    """A few statements: permissions, the worker, and what was wished."""
    payload = payload_of(job)
    worker = worker_of(job) if job.state == State.RUNNING else None
    return Buttons(
        retry=_why(request, Retry, job, why_not_retry(job, payload) or why_not_now(job)),
        rerun=_why(request, Rerun, job, why_not_rerun(job)),
        revoke=_why(request, Revoke, job, why_not_revoke(job) or _asked(job)),
        terminate=_why(
            request, Terminate, job, why_not_terminate(job, worker, timezone.now()) or _ending(job)
        ),
        ended=job.state in ENDED,
        runs=job.state == State.RUNNING,
        asks=job.state == State.SUCCEEDED,
    )


def _why(request: HttpRequest, command: type, job: Job, refusal: Refused | None) -> str:
    return hindrance(request, command, job.task, job.queue) or str(refusal or "")


def _asked(job: Job, **more: bool) -> Refused | None:
    wished = Revocation.objects.filter(cluster=job.cluster_id, task_id=job.task_id, **more).exists()
    return Refused("asked", _("That is under way.")) if wished else None


def _ending(job: Job) -> Refused | None:
    return _asked(job, terminate=True)
