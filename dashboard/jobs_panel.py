"""A panel for any model's admin: the jobs that were enqueued about an object."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import Model
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy

from jobs.enqueued import jobs_of

SHOWN = 20


class JobsPanel:
    """For `class OrderAdmin(JobsPanel, admin.ModelAdmin)`; it shows what its reader may see."""

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        self._reader = request.user
        return (*super().get_readonly_fields(request, obj), "jobs_of_it")  # type: ignore[misc]

    @admin.display(description=gettext_lazy("Jobs"))
    def jobs_of_it(self, obj: Model) -> SafeString | str:
        if obj._state.adding:
            return "-"
        found = jobs_of(obj).visible_to(self._reader)[:SHOWN]
        return render_to_string("triggers/_jobs_of.html", {"jobs": found})
