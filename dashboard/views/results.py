"""Results that are stored apart, to be downloaded."""

from __future__ import annotations

from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from jobs.access import has
from jobs.models import Cluster, Job
from workers import large
from workers.models import LargeResult


def size_apart(job: Job) -> int | None:
    """How many bytes the result has, if it is stored apart; by workers of this installation."""
    if job.cluster_id != Cluster.DEFAULT_ID or job.state != "succeeded":
        return None
    return large.size_of(job.task_id)


@require_safe
@never_cache
def download(request: HttpRequest, job_id: int) -> HttpResponse:
    """The result of a job as a file of JSON, for who may see what jobs carry."""
    job = Job.objects.visible_to(request.user).filter(pk=job_id).first()
    if job is None:
        raise Http404
    if not has(request.user, "view_payload"):
        raise PermissionDenied
    try:
        content = large.fetch(job.task_id)
    except (LargeResult.DoesNotExist, FileNotFoundError):
        raise Http404 from None
    response = HttpResponse(content, content_type="application/json")
    response["Content-Disposition"] = f'attachment; filename="result-{job.pk}.json"'
    return response
