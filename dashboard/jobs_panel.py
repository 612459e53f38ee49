"""A panel for any model's admin: the jobs that were enqueued about an object."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

from django.contrib import admin
from django.db.models import Model
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy

from jobs.enqueued import jobs_of
from jobs.models import Job
from jobs.scopes import Scope, scope_of

SHOWN = 20

# One object serves all requests of an admin; each of them has a context of its own.
_reader: ContextVar[Scope | None] = ContextVar("reader", default=None)


class JobsPanel:
    """For `class OrderAdmin(JobsPanel, admin.ModelAdmin)`; it shows what its reader may see."""

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        _reader.set(scope_of(request.user))
        return (*super().get_readonly_fields(request, obj), "jobs_of_it")  # type: ignore[misc]

    @admin.display(description=gettext_lazy("Jobs"))
    def jobs_of_it(self, obj: Model) -> SafeString | str:
        if obj._state.adding:
            return "-"
        return render_to_string("triggers/_jobs_of.html", {"jobs": _shown(obj, _reader.get())})


def _shown(obj: Model, scope: Scope | None) -> list[Job]:
    if scope is None:
        return []
    found: list[Job] = list(jobs_of(obj).within(scope)[:SHOWN])
    for job in found:
        job.exception = scope.words_of(job.exception)
    return found
