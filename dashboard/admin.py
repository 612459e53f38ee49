"""The record in the admin: to be read there, never to be changed."""

from __future__ import annotations

from typing import Any, cast

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.db.models.expressions import Combinable
from django.http import HttpRequest
from django.utils.functional import cached_property
from django_celery_results.models import GroupResult, TaskResult

from jobs.models import Gap, Job, Quarantine, Worker

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

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(Job)
class JobAdmin(ReadOnlyAdmin):
    list_display = ("task_id", "task", "queue", "state", "seen_at")


@admin.register(Worker)
class WorkerAdmin(ReadOnlyAdmin):
    list_display = ("name", "pid", "slots", "busy", "online_at", "seen_at", "offline_at")


@admin.register(Gap)
class GapAdmin(ReadOnlyAdmin):
    list_display = ("source", "reason", "began_at", "ended_at", "lost")


@admin.register(Quarantine)
class QuarantineAdmin(ReadOnlyAdmin):
    list_display = ("reason", "count", "first_at", "last_at")


# Their own pages count all results, and look through them for what to filter by.
admin.site.unregister([TaskResult, GroupResult])


@admin.register(TaskResult)
class TaskResultAdmin(ReadOnlyAdmin):
    list_display = ("task_id", "task_name", "status", "date_done", "worker")


@admin.register(GroupResult)
class GroupResultAdmin(ReadOnlyAdmin):
    list_display = ("group_id", "date_done")
