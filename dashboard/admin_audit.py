"""What is edited in the admin goes the same way as every action: permission, reach, read-only, audit."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from django.conf import settings
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse

from dashboard.visitors import address_of, user_of
from jobs.audit import Deed, write_down
from jobs.values import in_utc


class Audited(admin.ModelAdmin):  # type: ignore[type-arg]
    """A ModelAdmin with this before its own class writes each change into the audit, in its transaction.

    While the installation is read-only, it changes nothing. Refusals are
    written down, too.
    """

    def has_add_permission(self, request: HttpRequest, *of: Any) -> bool:
        return not settings.READ_ONLY and self.may_add(request, *of)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return not settings.READ_ONLY and self.may_change(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return not settings.READ_ONLY and self.may_delete(request, obj)

    def may_add(self, request: HttpRequest, *of: Any) -> bool:
        """Whether the visitor may, were it not for the whole installation, by Django's own permissions."""
        return super().has_add_permission(request, *of)

    def may_change(self, request: HttpRequest, obj: Any = None) -> bool:
        """Likewise."""
        return super().has_change_permission(request, obj)

    def may_delete(self, request: HttpRequest, obj: Any = None) -> bool:
        """Likewise."""
        return super().has_delete_permission(request, obj)

    # What was done

    def construct_change_message(
        self, request: HttpRequest, form: Any, formsets: Any, add: bool = False
    ) -> Any:
        """Django's words; and what it was before and after, for the line in the audit."""
        request.nightdesk_changes = changes_of(form, formsets or ())  # type: ignore[attr-defined]
        return super().construct_change_message(request, form, formsets, add)

    def log_addition(self, request: HttpRequest, obj: Model, message: Any) -> Any:
        self.write("admin.add", request, obj, after=_changes(request)[1])
        return super().log_addition(request, obj, message)

    def log_change(self, request: HttpRequest, obj: Model, message: Any) -> Any:
        before, after = _changes(request)
        self.write("admin.change", request, obj, before, after)
        return super().log_change(request, obj, message)

    def log_deletions(self, request: HttpRequest, queryset: QuerySet[Any]) -> Any:
        for obj in queryset:
            self.write("admin.delete", request, obj, before={"it": str(obj)})
        return super().log_deletions(request, queryset)

    def write(
        self, command: str, request: HttpRequest, obj: Model | None, before: Any = None, after: Any = None,
        refusal: str | None = None,
    ) -> None:  # fmt: skip
        """A line in the audit about `obj`, or about its kind."""
        model = type(obj) if obj is not None else self.model
        write_down(
            Deed(
                command, model._meta.model_name or "", str(obj) if obj is not None else "?", "admin",
                user_of(request), address=address_of(request), before=before, after=after, refusal=refusal,
                task=getattr(obj, "task", None), queue=getattr(obj, "queue", None),
            )
        )  # fmt: skip

    # What was refused

    def changeform_view(
        self, request: HttpRequest, object_id: str | None = None, *of: Any, **also: Any
    ) -> HttpResponse:
        with self._refusals_written("admin.change" if object_id else "admin.add", request, object_id):
            return super().changeform_view(request, object_id, *of, **also)

    def delete_view(self, request: HttpRequest, object_id: str, *of: Any, **also: Any) -> HttpResponse:
        with self._refusals_written("admin.delete", request, object_id):
            return super().delete_view(request, object_id, *of, **also)

    def response_action(self, request: HttpRequest, queryset: QuerySet[Any], *of: Any) -> Any:
        with transaction.atomic():
            return super().response_action(request, queryset, *of)

    @contextmanager
    def _refusals_written(self, command: str, request: HttpRequest, object_id: str | None) -> Iterator[None]:
        try:
            yield
        except PermissionDenied:
            if request.method == "POST" and request.user.is_authenticated:
                obj = self.get_object(request, object_id) if object_id else None
                self.write(command, request, obj, refusal="read_only" if settings.READ_ONLY else "permission")
            raise


class AuditedByOne(Audited):
    """Who may change it may see, add and delete it: a permission of our own decides, not Django's four."""

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.may_change(request)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.may_change(request, obj)

    def may_add(self, request: HttpRequest, *of: Any) -> bool:
        return self.may_change(request)

    def may_delete(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.may_change(request, obj)


Change = tuple[dict[str, Any], dict[str, Any]]


def _changes(request: HttpRequest) -> Change:
    return getattr(request, "nightdesk_changes", ({}, {}))


def changes_of(form: Any, formsets: Iterable[Any] = ()) -> Change:
    """The fields that a form changes, before and after; nothing of passwords but that they change."""
    before = {name: _plain(form.initial.get(name)) for name in form.changed_data if "password" not in name}
    after = {
        name: _plain(form.cleaned_data.get(name)) for name in form.changed_data if "password" not in name
    }
    if any("password" in name for name in form.changed_data):
        after["changed"] = "the secret to sign in with"
    for formset in formsets:
        name = str(formset.model._meta.verbose_name_plural)
        rows = [one for one in formset.forms if one.has_changed()]
        if rows:
            before[name] = [_texts(one.initial) for one in rows if one.initial]
            after[name] = [_texts(one.cleaned_data) for one in rows]
    return before, after


def _texts(values: dict[str, Any]) -> dict[str, Any]:
    return {name: _plain(value) for name, value in values.items()}


def _plain(value: Any) -> Any:
    """As JSON has it: rows by their names, moments in UTC whatever the visitor's zone."""
    if isinstance(value, QuerySet | list | tuple | set):
        return [_plain(one) for one in value]
    if isinstance(value, datetime):
        return str(in_utc(value).astimezone(UTC))
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)
