"""A monitor that dies of one job's events, as of a lack of memory: python -m tests.fragile_monitor."""

from __future__ import annotations

import os
import threading
from typing import Any
from unittest.mock import patch

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "dashboard.settings")
django.setup()

from django.conf import settings  # noqa: E402

from jobs.lifecycle import fold  # noqa: E402
from workers.monitor.ingest import Ingest  # noqa: E402


def fold_or_die(job: Any, task_id: str, events: Any) -> Any:
    if task_id == "poison":
        os._exit(9)
    return fold(job, task_id, events)


if __name__ == "__main__":
    with patch("jobs.record.fold", fold_or_die):
        Ingest(settings.REDIS_URL, committed=lambda _: None).run(threading.Event())
