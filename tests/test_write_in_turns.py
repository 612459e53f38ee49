"""SQLite has one writer at a time: the threads of a monitor take turns, and no commit brings the log in."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest
from django.db import connection

from jobs import models
from jobs.store import checkpoints
from jobs.store.turns import turn, written
from tests.harness.processes import ROOT, clean_environment

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif("connection.vendor != 'sqlite'", reason="PostgreSQL has many writers"),
]

ASK = """
import django; django.setup()
from django.db import connection
from jobs.store import checkpoints
checkpoints.leave_to_a_loop()
with connection.cursor() as cursor:
    cursor.execute("PRAGMA wal_autocheckpoint"); print(cursor.fetchone()[0])
    cursor.execute("PRAGMA journal_mode"); print(cursor.fetchone()[0])
"""


def write_much(reason: str = "much") -> None:
    with written():
        models.Quarantine.objects.create(
            reason=reason, first_at="2026-11-22T00:00Z", last_at="2026-11-22T00:00Z", sample="x" * 500_000
        )


def test_a_thread_waits_for_its_turn_and_then_writes() -> None:
    began, done = threading.Event(), threading.Event()

    def other() -> None:
        began.set()
        write_much()
        connection.close()
        done.set()

    thread = threading.Thread(target=other)
    with turn():
        thread.start()
        assert began.wait(10)
        assert not done.wait(0.1)
    assert done.wait(10)
    thread.join()
    assert models.Quarantine.objects.count() == 1


def test_a_transaction_in_a_transaction_waits_for_nobody() -> None:
    with written(), written():
        models.Producer.objects.create(id="p", seen_at="2026-11-22T00:00Z")
    assert models.Producer.objects.count() == 1


def pages_in_the_log() -> tuple[int, int]:
    """How many there are, and how many of them are in the file by now."""
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA wal_checkpoint(PASSIVE)")
        _, pages, brought_in = cursor.fetchone()
    return pages, brought_in


def test_the_log_comes_into_the_file_while_others_write() -> None:
    write_much()
    checkpoints.bring_in()
    pages, brought_in = pages_in_the_log()
    assert pages == brought_in > 0


def test_a_log_to_which_each_look_finds_something_added_begins_anew_when_it_is_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bring_in, looks = checkpoints._bring_in_what_can_be, []

    def while_others_write() -> int:
        looks.append(bring_in())
        if len(looks) < 3:
            write_much(f"more {len(looks)}")
        return looks[-1]

    monkeypatch.setattr(checkpoints, "MOST_PAGES", 100)
    monkeypatch.setattr(checkpoints, "_bring_in_what_can_be", while_others_write)
    write_much()
    checkpoints.bring_in()
    models.Quarantine.objects.update(count=1)
    assert pages_in_the_log()[0] < 100 < looks[0]


def test_no_commit_of_the_monitor_brings_the_log_in(tmp_path: Path) -> None:
    env = clean_environment(tmp_path, DATA_DIR=str(tmp_path), DJANGO_SETTINGS_MODULE="dashboard.settings")
    told = subprocess.run([sys.executable, "-c", ASK], cwd=ROOT, env=env, capture_output=True, text=True)
    assert told.stdout.split() == ["0", "wal"], told.stderr
