"""`cleanup_expired`: deletes what has had its time and what no loop of the monitor looks after."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from importlib import import_module

from django.conf import settings
from django.core.files.storage import default_storage
from django.utils import timezone

from workers.app import app
from workers.ready.report import FOLDER

REPORTS_KEPT = timedelta(days=90)


@app.task(idempotent=True, concurrency=1)
def cleanup_expired() -> dict[str, int]:
    """Delete expired results with their claims, expired sessions, and reports older than 90 days.

    How many reports they were. The record itself is the monitor's to forget.
    """
    app.backend.cleanup()
    import_module(settings.SESSION_ENGINE).SessionStore.clear_expired()
    old = list(reports_before(timezone.now().date() - REPORTS_KEPT))
    for name in old:
        default_storage.delete(name)
    return {"reports": len(old)}


def reports_before(first: date) -> Iterator[str]:
    """The files of reports that were made before this day."""
    try:
        days, _ = default_storage.listdir(FOLDER)
    except FileNotFoundError:  # there has been none
        return
    for day in days:
        if day < first.isoformat():
            _, files = default_storage.listdir(f"{FOLDER}/{day}")
            yield from (f"{FOLDER}/{day}/{file}" for file in files)
