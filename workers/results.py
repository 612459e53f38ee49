"""Results in the database, through django-celery-results' tables, with one statement a state."""

from __future__ import annotations

from typing import Any

from celery import states
from django.db import InterfaceError, OperationalError, connections, router
from django.utils import timezone
from django_celery_results.backends import DatabaseBackend

import nightdesk
from jobs.store.results import write_result

# Celery's events tell these; any other state is news that a job gives of itself.
TOLD_BY_EVENTS = states.READY_STATES | {states.RETRY, states.REJECTED, states.IGNORED}
PROGRESS_EVENT = "job-progress"
# Rows deleted in one transaction: SQLite has one writer, and others wait.
CHUNK = 500


class ResultBackend(DatabaseBackend):  # type: ignore[misc]
    """django-celery-results, whose write is an upsert that never reopens a finished job.

    A state that a job gives itself by `update_state`, such as "RENDERING",
    becomes an event as well.
    """

    def _store_result(
        self,
        task_id: str,
        result: Any,
        status: str,
        traceback: str | None = None,
        request: Any = None,
        using: str | None = None,
    ) -> Any:
        encoded = self._row(task_id, result, status, traceback, request)
        write_result(self.TaskModel, encoded, using or router.db_for_write(self.TaskModel))
        if status not in TOLD_BY_EVENTS:
            nightdesk.emit(PROGRESS_EVENT, uuid=task_id, state=status, meta=result)
        return encoded["result"]

    def _row(
        self, task_id: str, result: Any, status: str, traceback: str | None, request: Any
    ) -> dict[str, Any]:
        content_type, content_encoding, content = self.encode_content(result)
        children = self.current_task_children(request)
        _, _, meta = self.encode_content({**self._get_meta_from_request(request), "children": children})
        now = timezone.now()
        return {
            **self._get_extended_properties(request, traceback),
            "task_id": task_id,
            "status": status,
            "content_type": content_type,
            "content_encoding": content_encoding,
            "result": content,
            "meta": meta,
            "traceback": traceback,
            "date_created": now,
            "date_started": now if status == states.STARTED else None,
            "date_done": now,
        }

    def cleanup(self) -> None:
        """Delete what is older than `result_expires`, a little at a time."""
        if not self.expires:
            return
        for model in (self.TaskModel, self.GroupModel):
            expired = model._default_manager.get_all_expired(self.expires)
            while chunk := list(expired.values_list("pk", flat=True)[:CHUNK]):
                model._default_manager.filter(pk__in=chunk).delete()

    def exception_safe_to_retry(self, exc: BaseException) -> bool:
        """The upsert may be repeated: after a fault of the connection it is, on a new one."""
        if not isinstance(exc, InterfaceError | OperationalError):
            return False
        connection = connections[router.db_for_write(self.TaskModel)]
        if connection.in_atomic_block:
            return False
        connection.close()
        return True
