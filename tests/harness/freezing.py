"""To freeze a process where that stops nobody else."""

from __future__ import annotations

import signal
import time

from django.db import OperationalError, connection

from jobs.models import Heartbeat
from tests.harness.processes import Process


def freeze_between_transactions(beat: Process) -> None:
    """On SQLite, whoever freezes with the one place of the writer stops everybody."""
    while True:
        beat.send(signal.SIGSTOP)
        if connection.vendor != "sqlite" or _writable():
            return
        beat.send(signal.SIGCONT)
        time.sleep(0.05)


def _writable() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA busy_timeout = 500")
        try:
            Heartbeat.objects.filter(name="nobody").update(pid=0)
        except OperationalError:
            return False
        finally:
            cursor.execute("PRAGMA busy_timeout = 20000")
    return True
