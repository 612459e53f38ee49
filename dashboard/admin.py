"""The admin: the record to be read, accounts, teams and schedules to be edited, each edit in the audit."""

from __future__ import annotations

from typing import Any, cast

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group, User
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.db.models import Model, QuerySet
from django.db.models.expressions import Combinable
from django.http import HttpRequest
from django.utils import timezone
from django.utils.functional import cached_property
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django_celery_beat import admin as beat
from django_celery_beat.models import (
    ClockedSchedule,
    CrontabSchedule,
    IntervalSchedule,
    PeriodicTask,
    SolarSchedule,
)
from django_celery_results.models import GroupResult, TaskResult

import dashboard.channel_admin
import dashboard.rule_admin
import dashboard.trigger_admin  # noqa: F401 it registers itself
from dashboard.admin_audit import Audited, AuditedByOne
from dashboard.schedule_forms import PolicyForm, RhythmForm, ScheduleForm
from dashboard.schedule_rows import queue_of
from jobs import access
from jobs.models import Action, Gap, Job, Quarantine, Reach, SchedulePolicy, Token, Worker
from jobs.scopes import EVERYTHING, scope_of
from workers.beat.editing import POLICY

MOST_LISTED = 1_000


class CappedPaginator(Paginator):  # type: ignore[type-arg]
    """Pages over the first rows alone: a count of all of them would read the whole table."""

    @cached_property
    def count(self) -> int:
        return cast("QuerySet[Any]", self.object_list)[:MOST_LISTED].count()


class NewestFirst(ChangeList):
    """Whatever order is asked for: no index serves another one."""

    def get_ordering(self, request: HttpRequest, queryset: QuerySet[Any]) -> list[str | Combinable]:
        return ["-pk"]


class ReadOnlyAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """A table that one process alone writes, and it is not this one."""

    paginator = CappedPaginator
    show_full_result_count = False
    list_per_page = 50
    list_max_show_all = 0
    actions = None
    sortable_by = ()

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return NewestFirst

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """For who may see all of it: rows are not measured by a reach here."""
        return scope_of(request.user) == EVERYTHING

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


def replaces(model: type[Model]) -> Any:
    """Registers in place of what another app has registered."""
    admin.site.unregister(model)
    return admin.register(model)


@admin.register(Job)
class JobAdmin(ReadOnlyAdmin):
    list_display = ("task_id", "task", "queue", "state", "seen_at")


@admin.register(Worker)
class WorkerAdmin(ReadOnlyAdmin):
    list_display = ("name", "pid", "slots", "busy", "online_at", "seen_at", "offline_at")


@admin.register(Token)
class TokenAdmin(ReadOnlyAdmin):
    list_display = ("prefix", "user", "name", "permissions", "expires_at", "revoked_at", "last_used_at")
    fields = (*list_display, "created_at")


@admin.register(Gap)
class GapAdmin(ReadOnlyAdmin):
    list_display = ("source", "reason", "began_at", "ended_at", "lost")


@admin.register(Quarantine)
class QuarantineAdmin(ReadOnlyAdmin):
    list_display = ("reason", "count", "first_at", "last_at")


@admin.register(Action)
class ActionAdmin(ReadOnlyAdmin):
    list_display = ("at", "who", "command", "target", "outcome", "via")

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_view_permission(request, obj) and access.has(request.user, "view_audit")


# Their own pages count all results, and look through them for what to filter by.
@replaces(TaskResult)
class TaskResultAdmin(ReadOnlyAdmin):
    list_display = ("task_id", "task_name", "status", "date_done", "worker")


@replaces(GroupResult)
class GroupResultAdmin(ReadOnlyAdmin):
    list_display = ("group_id", "date_done")


# Who may come in, and how far they reach


class ReachInline(admin.TabularInline):  # type: ignore[type-arg]
    model = Reach
    extra = 0
    fields = ("queues", "tasks")


@replaces(User)
class AuditedUserAdmin(Audited, UserAdmin):  # type: ignore[type-arg]
    inlines = (ReachInline,)

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> tuple[Any, Any, set[Any], Any]:
        """Its tokens, which nobody deletes by themselves, go with an account."""
        told, counts, lacking, protected = super().get_deleted_objects(objs, request)
        return told, counts, lacking - {Token._meta.verbose_name}, protected


@replaces(Group)
class AuditedGroupAdmin(Audited, GroupAdmin):
    inlines = (ReachInline,)


@admin.register(Reach)
class ReachAdmin(Audited):
    list_display = ("__str__", "user", "group", "queues", "tasks")


# What Beat sends, and when


class OfSchedules(AuditedByOne):
    def may_change(self, request: HttpRequest, obj: Any = None) -> bool:
        return may_edit_schedules(request.user)


def _reaches(request: HttpRequest, row: PeriodicTask) -> bool:
    return access.reaches(access.spans_of(request.user), row.task, queue_of(row))


class PolicyInline(admin.StackedInline):  # type: ignore[type-arg]
    """What is wished of a schedule, for who may edit it. Pauses and skips have buttons on its own page."""

    model = SchedulePolicy
    form = PolicyForm
    fields = POLICY
    can_delete = False

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return may_edit_schedules(request.user)

    has_change_permission = has_view_permission

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return may_edit_schedules(request.user)


def may_edit_schedules(user: Any) -> bool:
    """Schedules show what their jobs will carry."""
    return access.has(user, "edit_schedule") and access.has(user, "view_payload")


@replaces(PeriodicTask)
class AuditedPeriodicTaskAdmin(OfSchedules, beat.PeriodicTaskAdmin):  # type: ignore[misc]
    form = ScheduleForm
    inlines = (PolicyInline,)
    # Its own `run_tasks` would ask the broker from here; the form of a task runs one.
    actions = ("enable_tasks", "disable_tasks")

    def may_change(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().may_change(request, obj) and (obj is None or _reaches(request, obj))

    def get_queryset(self, request: HttpRequest) -> QuerySet[PeriodicTask]:
        rows: QuerySet[PeriodicTask] = super().get_queryset(request)
        if access.spans_of(request.user) is None:
            return rows
        return rows.filter(pk__in=[row.pk for row in rows if _reaches(request, row)])

    def save_model(self, request: HttpRequest, obj: PeriodicTask, form: Any, change: bool) -> None:
        if not _reaches(request, obj):
            raise PermissionDenied(_("This queue or task is beyond your reach."))
        super().save_model(request, obj, form, change)

    @admin.action(description=gettext_lazy("Enable selected schedules"), permissions=["change"])
    def enable_tasks(self, request: HttpRequest, queryset: QuerySet[PeriodicTask]) -> None:
        self._switch(request, queryset, on=True)
        # It counts from now on, not from its last edit.
        queryset.filter(enabled=False).update(date_changed=timezone.now())
        super().enable_tasks(request, queryset)

    @admin.action(description=gettext_lazy("Disable selected schedules"), permissions=["change"])
    def disable_tasks(self, request: HttpRequest, queryset: QuerySet[PeriodicTask]) -> None:
        self._switch(request, queryset, on=False)
        super().disable_tasks(request, queryset)

    def _switch(self, request: HttpRequest, queryset: QuerySet[PeriodicTask], *, on: bool) -> None:
        for row in queryset:
            self.write("admin.change", request, row, {"enabled": row.enabled}, {"enabled": on})


@replaces(IntervalSchedule)
@replaces(SolarSchedule)
@replaces(ClockedSchedule)
class AuditedScheduleAdmin(OfSchedules):
    """Without the list of who uses it: some of that may be beyond a reach, and then it stays as it is."""

    form = RhythmForm
    inlines = ()

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.may_change(request)

    def may_change(self, request: HttpRequest, obj: Any = None) -> bool:
        users = () if obj is None else obj.periodictask_set.all()
        return super().may_change(request, obj) and all(_reaches(request, row) for row in users)


@replaces(CrontabSchedule)
class AuditedCrontabAdmin(AuditedScheduleAdmin, beat.CrontabScheduleAdmin):  # type: ignore[misc]
    """Likewise."""
