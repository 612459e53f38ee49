"""The rules of alerts in the admin: the same fields as on their page, the parameters as JSON."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib import admin
from django.db import models
from django.http import HttpRequest
from django.utils.translation import gettext_lazy

from dashboard.admin_audit import AuditedByOne
from jobs import access
from jobs.models import Rule


@admin.register(Rule)
class RuleAdmin(AuditedByOne):
    """For those who may edit rules and reach everything; those that came with the product are not deleted."""

    list_display = ("name", "kind", "severity", "enabled", "team", "tasks", "queues")
    list_filter = ("enabled", "kind", "severity")
    search_fields = ("name",)
    formfield_overrides: ClassVar = {models.URLField: {"assume_scheme": "https"}}
    filter_horizontal = ("channels", "escalation_channels")
    fieldsets = (
        (None, {"fields": ("name", "enabled", "kind", "params", "tasks", "queues")}),
        (gettext_lazy("When"), {"fields": ("for_seconds", "resolve_seconds")}),
        (
            gettext_lazy("Whom it reaches"),
            {
                "fields": (
                    "severity", "channels", "escalate_after", "escalation_channels",
                    ("quiet_from", "quiet_until", "quiet_zone"),
                )
            },
        ),
        (gettext_lazy("For those who read it"), {"fields": ("team", "runbook_url", "note")}),
    )  # fmt: skip

    def may_change(self, request: HttpRequest, obj: Any = None) -> bool:
        return access.has(request.user, "edit_rule") and access.spans_of(request.user) is None

    def may_delete(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().may_delete(request, obj) and (obj is None or obj.built_in is None)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return () if obj is None else ("kind",)

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        """None at once: one that came with the product might be among them."""
        return {}
