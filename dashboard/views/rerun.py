"""Running a job again with other arguments: the form, what differs, and then the deed."""

from __future__ import annotations

import difflib
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.translation import gettext as _

from dashboard import formats, zones
from dashboard.acting import act, asking
from dashboard.addresses import job_address
from dashboard.json_text import legible
from dashboard.run_forms import RerunForm
from dashboard.views.job_acts import found, named, page
from dashboard.visitors import cluster_id_of, scope_of_visitor
from jobs import scopes, search
from jobs.job_frame import carried
from jobs.models import Job
from jobs.values import read_json
from workers import signatures
from workers.commands import jobs as commands
from workers.commands.jobs import Rerun

FIELDS = ("args", "kwargs", "queue", "priority", "eta", zones.FIELD)


@asking
def rerun(request: HttpRequest, job_id: int) -> HttpResponse:
    job = found(request, job_id)
    if request.method != "POST":
        return _form_page(request, job, _form_of(request, job, fill=True))
    form = _form_of(request, job)
    if request.POST.get("step") == "edit" or not (form.is_valid() and _fits(form, job)):
        return _form_page(request, job, form)
    if request.POST.get("step") != "run":
        carried = [(name, request.POST.get(name, "")) for name in FIELDS]
        changes = _changes(request, job, form)
        return page(request, "jobs/rerun_check.html", job, carried=carried, changes=changes)
    said = _("Asked for a new job. It is listed here once it is published.")
    return act(request, Rerun(**named(job), **form.edited()), job_address(job), said)


def _form_page(request: HttpRequest, job: Job, form: RerunForm) -> HttpResponse:
    return page(request, "jobs/rerun.html", job, form=form, known=signatures.is_known(job.task or ""))


def _form_of(request: HttpRequest, job: Job, *, fill: bool = False) -> RerunForm:
    form = RerunForm(request.POST if request.method == "POST" else None)
    form.offer(
        known_queues(request),
        _("%(queue)s, as it was") % {"queue": job.queue or "?"},
        _("%(priority)s, as it was") % {"priority": "?" if job.priority is None else job.priority},
    )
    if fill:
        carried = _carried(request, job)
        form.initial = {name: _pretty(value) for name, value in carried.items() if value is not None}
    return form


def _carried(request: HttpRequest, job: Job) -> dict[str, Any]:
    """Its arguments as the record holds them and the visitor may see them; None where they are not known."""
    allowed = scopes.named(scope_of_visitor(request))
    payload = carried(job, allowed)
    exact = commands.exact_arguments(commands.payload_of(job))
    if not allowed.payload or (payload.args is None and exact is None):
        return {"args": None, "kwargs": None}
    if exact is not None:
        return {"args": exact[0], "kwargs": exact[1]}
    return {"args": _read(payload.args), "kwargs": _read(payload.kwargs)}


def _read(text: str | None) -> Any:
    """What the record shows as JSON; None where it is none, as from a worker that only tells a text."""
    try:
        return read_json(text or "null")
    except ValueError:
        return None


def _fits(form: RerunForm, job: Job) -> bool:
    """Whether the task takes the arguments; the form says why not."""
    edited = form.edited()
    exact = commands.exact_arguments(commands.payload_of(job))
    args, kwargs = ((edited[name] if edited[name] is not None else was) for name, was in _with(exact))
    if args is None or kwargs is None:
        form.add_error(None, _("What it carried is not known whole: give both args and kwargs."))
    elif why := signatures.why_unfit(job.task or "", args, kwargs):
        form.add_error(None, why)
    return not form.errors


def _with(exact: tuple[Any, Any] | None) -> list[tuple[str, Any]]:
    was = exact or (None, None)
    return [("args", was[0]), ("kwargs", was[1])]


def _changes(request: HttpRequest, job: Job, form: RerunForm) -> list[dict[str, Any]]:
    """What differs from the job as it was, part by part; arguments that stay have no lines."""
    known, edited = _carried(request, job), form.edited()
    parts: list[dict[str, Any]] = [
        {"name": name, "lines": _difference(known[name], edited[name])} for name in ("args", "kwargs")
    ]
    where = {
        "queue": (job.queue, edited["queue"]),
        "priority": (job.priority, edited["priority"]),
        "eta": (None, edited["eta"] and formats.moment(edited["eta"].timestamp())),
    }
    moved = {name: pair for name, pair in where.items() if pair[1] not in (None, pair[0])}
    return parts + [
        {"name": name, "lines": [("-", "–" if was is None else str(was)), ("+", str(now))]}  # noqa: RUF001
        for name, (was, now) in moved.items()
    ]


def _difference(before: Any, after: Any) -> list[tuple[str, str]]:
    """Lines with "+", "-" or " " before them; none where nothing differs."""
    if after is None or before == after:
        return []
    old = [] if before is None else _pretty(before).splitlines()
    lines = difflib.unified_diff(old, _pretty(after).splitlines(), lineterm="", n=3)
    return [(line[:1], line[1:]) for line in lines if not line.startswith(("---", "+++", "@@"))]


def _pretty(value: Any) -> str:
    return legible(value, indent=2)


def known_queues(request: HttpRequest) -> list[str]:
    return search.names(cluster_id_of(request), request.user, timezone.now()).queues
