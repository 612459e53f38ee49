"""Acting on one job: for each deed a page that asks, and a POST that does it."""

from __future__ import annotations

from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.translation import gettext as _

from dashboard.acting import act, asking
from dashboard.addresses import job_address
from dashboard.job_buttons import buttons
from dashboard.visitors import scope_of_visitor
from jobs import live
from jobs.models import Job
from workers.commands.jobs import Retry, Revoke, Terminate
from workers.eligibility import signals_of, worker_of


def found(request: HttpRequest, job_id: int) -> Job:
    """The job, if the visitor may see it. Raises Http404."""
    visible = Job.objects.visible_to(request.user).select_related("payload", "cluster")
    job: Job | None = visible.filter(pk=job_id).first() if job_id < 2**63 else None
    if job is None:
        raise Http404("no such job")
    return job


def named(job: Job) -> dict[str, Any]:
    """What names a job to a command."""
    return {"task_id": job.task_id, "cluster_id": job.cluster_id}


def page(request: HttpRequest, template: str, job: Job, **more: Any) -> HttpResponse:
    """A page about a job, with its frame and its buttons; 400 where its form has faults."""
    frame = live.job(job, scope_of_visitor(request), timezone.now())
    context = {"job": job, "frame": frame, "buttons": buttons(request, job), **more}
    status = 400 if more.get("form") is not None and more["form"].errors else 200
    return render(request, template, context, status=status)


@asking
def retry(request: HttpRequest, job_id: int) -> HttpResponse:
    job = found(request, job_id)
    if request.method != "POST":
        return page(request, "jobs/retry.html", job)
    said = _("Asked for a new job with the same body. It is listed here once it is published.")
    return act(request, Retry(**named(job)), job_address(job), said)


@asking
def revoke(request: HttpRequest, job_id: int) -> HttpResponse:
    job = found(request, job_id)
    if request.method != "POST":
        return page(request, "jobs/revoke.html", job)
    said = _("Asked, not yet confirmed: it is revoked once a worker says so.")
    return act(request, Revoke(**named(job)), job_address(job), said)


@asking
def terminate(request: HttpRequest, job_id: int) -> HttpResponse:
    job = found(request, job_id)
    if request.method != "POST":
        worker = worker_of(job)
        return page(request, "jobs/terminate.html", job, signals=signals_of(worker) if worker else ())
    said = _("Asked, not yet confirmed: it has ended once its worker says so.")
    command = Terminate(**named(job), signal=request.POST.get("signal", "SIGTERM")[:16])
    return act(request, command, job_address(job), said)
