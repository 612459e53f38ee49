"""Triggers in the admin: checked when they are saved, so that none is kept that could never fire."""

from __future__ import annotations

from typing import Any

from django import forms
from django.apps import apps
from django.contrib import admin
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from dashboard.admin_audit import AuditedByOne
from jobs import access
from jobs.models import Trigger
from workers.signatures import own_task_names
from workers.triggers import OURS, faults

BYPASSED = gettext_lazy(
    "A trigger hears what Django signals: save() and delete() of an object, also those that come with a"
    " cascade of Django. QuerySet.update(), bulk_create(), bulk_update() and raw SQL bypass it."
    " The job is in the save's transaction where the save is within atomic(); outside, Django signals a save"
    " once it is committed."
)


class TriggerForm(forms.ModelForm):  # type: ignore[type-arg]
    """A trigger, with its model and task to choose from."""

    class Meta:
        model = Trigger
        fields = (
            "name", "enabled", "model", "on_create", "on_update", "on_delete", "fields", "condition",
            "task", "arguments", "queue", "delay", "debounce", "note",
        )  # fmt: skip

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        labels = (model._meta.label_lower for model in apps.get_models() if model._meta.app_label not in OURS)
        self._offer("model", sorted(labels))
        self._offer("task", own_task_names())

    def _offer(self, name: str, known: list[str]) -> None:
        """What there is to choose from, and what was chosen before, even if it is gone."""
        chosen = getattr(self.instance, name)
        offered = known if not chosen or chosen in known else [chosen, *known]
        self.fields[name].widget = forms.Select(choices=[("", "-"), *((value, value) for value in offered)])

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        if not self.errors:
            for name, why in faults(Trigger(**cleaned)).items():
                self.add_error(name, why)
        return cleaned


@admin.register(Trigger)
class TriggerAdmin(AuditedByOne):
    """For those who may run any task: a trigger does."""

    form = TriggerForm
    list_display = ("name", "enabled", "model", "task", "queue", "condition")
    list_filter = ("enabled",)
    fieldsets = (
        (None, {"fields": ("name", "enabled", "note", "what_fired")}),
        (
            gettext_lazy("When"),
            {
                "fields": ("model", ("on_create", "on_update", "on_delete"), "fields", "condition"),
                "description": BYPASSED,
            },
        ),
        (gettext_lazy("What"), {"fields": ("task", "arguments", "queue", "delay", "debounce")}),
    )
    readonly_fields = ("what_fired",)

    @admin.display(description=gettext_lazy("What fired"))
    def what_fired(self, trigger: Trigger) -> SafeString | str:
        if trigger._state.adding:
            return "-"
        address = reverse("trigger", args=[trigger.pk])
        return format_html('<a href="{}">{}</a>', address, _("what fired, what did not, and a rehearsal"))

    def may_change(self, request: HttpRequest, obj: Any = None) -> bool:
        may = access.has(request.user, "run_task")
        return may and access.spans_of(request.user) is None
