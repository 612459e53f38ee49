"""Results too large for the results' table: in a table of their own, or in Django's storage."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.conf import settings
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.utils import timezone

from workers.models import LargeResult

MARK = "nightdesk_stored_apart"
FOLDER = "results"
STORAGE = "storage"


def mark_of(content: str) -> dict[str, int]:
    """What stands in the results' table instead."""
    return {MARK: len(content.encode())}


def put_apart(task_id: str, content: str) -> None:
    """Store a result, as the results' table would have it."""
    size = len(content.encode())
    row: dict[str, Any] = {"size": size, "at": timezone.now(), "content": content, "file": None}
    if settings.LARGE_RESULTS == STORAGE:
        name = f"{FOLDER}/{timezone.now():%Y-%m-%d}/{task_id.replace('/', '_')[:200]}.json"
        row["content"], row["file"] = None, default_storage.save(name, ContentFile(content.encode()))
    LargeResult.objects.update_or_create(task_id=task_id, defaults=row)


def is_mark(result: Any) -> bool:
    """Whether a result is elsewhere."""
    return isinstance(result, dict) and result.keys() == {MARK}


def fetch(task_id: str) -> str:
    """The result as it was stored. Raises LargeResult.DoesNotExist, or what the storage raises."""
    row = LargeResult.objects.get(task_id=task_id)
    if row.file is None:
        return row.content or ""
    with default_storage.open(row.file) as file:
        return str(file.read().decode())


def size_of(task_id: str) -> int | None:
    """How many bytes the result has that is stored apart; None if it isn't."""
    return LargeResult.objects.filter(task_id=task_id).values_list("size", flat=True).first()


def forget(before: datetime, chunk: int) -> None:
    """Delete those that were stored before this, with their files, some at a time."""
    while rows := list(LargeResult.objects.filter(at__lt=before).only("pk", "file")[:chunk]):
        for row in rows:
            if row.file is not None:
                default_storage.delete(row.file)
        gone = LargeResult.objects.filter(pk__in=[row.pk for row in rows])
        gone._raw_delete(gone.db)
