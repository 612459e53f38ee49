"""A monitor that can't write into the record until a file is there: python -m tests.stuck_monitor FILE."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any
from unittest.mock import patch

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "dashboard.settings")
django.setup()

from django.core.management import call_command  # noqa: E402
from django.db import OperationalError  # noqa: E402

from jobs.record import Record  # noqa: E402

write = Record.write


def write_once_free(*of: Any, **also: Any) -> Any:
    if not Path(sys.argv[1]).exists():
        raise OperationalError("database is locked")
    return write(*of, **also)


if __name__ == "__main__":
    with patch.object(Record, "write", write_once_free):
        call_command("monitor")
