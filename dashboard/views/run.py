"""Running any registered task: choose one, then fill in a form built on its signature."""

from __future__ import annotations

from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _

from dashboard.acting import act, asking, refused
from dashboard.run_forms import RunForm
from dashboard.views.rerun import known_queues
from dashboard.visitors import hindrance
from jobs import scopes
from workers import signatures
from workers.commands.jobs import Run


@asking
def index(request: HttpRequest) -> HttpResponse:
    task = request.POST.get("task") or request.GET.get("task") or ""
    names = [name for name in signatures.own_task_names() if not _beyond(request, name)]
    if task not in names:
        return _run_page(request, names, task, None)
    form = _run_form(request, task)
    if request.method != "POST" or not form.is_valid():
        return _run_page(request, names, task, form)
    given = form.given()
    if why := signatures.why_unfit(task, given["args"], given["kwargs"]):
        form.add_error(None, why)
        return _run_page(request, names, task, form)
    said = _("Asked for a new job. It is listed once it is published.")
    return act(request, Run(task, **given), f"{reverse('jobs')}?{urlencode({'task': task})}", said)


def _beyond(request: HttpRequest, task: str) -> bool:
    scope = scopes.scope_of(request.user)
    return scope is None or not scope.covers(task, signatures.route_of(task))


def _run_form(request: HttpRequest, task: str) -> RunForm:
    form = RunForm(signatures.parameters(task), request.POST if request.method == "POST" else None)
    usual = _("%(queue)s, by its routes") % {"queue": signatures.route_of(task)}
    form.offer(known_queues(request), usual, _("as the task has it"))
    return form


def _run_page(request: HttpRequest, names: list[str], task: str, form: RunForm | None) -> HttpResponse:
    if task and form is None:
        return refused(request, "missing", _("No such task is registered here."), reverse("run"))
    context = {
        "names": names,
        "task": task,
        "form": form,
        "doc": signatures.documentation(task) if task else "",
        "why": hindrance(request, Run, task, signatures.route_of(task)) if task else "",
    }
    return render(request, "jobs/run.html", context, status=400 if form and form.errors else 200)
