"""SQLite has one writer at a time: the threads of a monitor take turns, and no commit brings the log in."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from celery.exceptions import SoftTimeLimitExceeded
from django.conf import settings
from django.contrib.auth.models import User
from django.db import connection

from jobs import models
from jobs.store import checkpoints, turn_file, turns
from jobs.store.turn_file import turn_among_processes
from jobs.store.turns import turn, written
from tests import tasks
from tests.harness import Process, eventually
from tests.harness.processes import ROOT, clean_environment, python
from tests.steering import asked
from workers.app import app
from workers.commands.queues import PauseQueue, PurgeQueue
from workers.control import Control
from workers.monitor.orders import carry_out
from workers.monitor.pauses import Pauses

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


HOG = """
import sys, time
from pathlib import Path
from jobs.store.turn_file import turn_among_processes
while True:
    with turn_among_processes(sys.argv[1], 20.0):
        print("at it", flush=True)
        time.sleep(float(sys.argv[2]))
"""


@pytest.fixture(autouse=True)
def nobody_was_frozen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turn_file._vain, "until", float("-inf"))


@pytest.fixture
def hog(tmp_path: Path) -> Iterator[Callable[[float], Process]]:
    """A process that writes without a pause, each time for so many seconds."""
    begun: list[Process] = []

    def begin(seconds: float) -> Process:
        name = str(connection.settings_dict["NAME"])
        argv = python("-c", HOG, name, str(seconds))
        begun.append(Process(argv, clean_environment(tmp_path), tmp_path / "hog.log"))
        eventually(begun[-1].text, 20)
        return begun[-1]

    yield begin
    for process in begun:
        process.kill()


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


def test_who_waits_for_another_process_is_next(hog: Callable[[float], Process]) -> None:
    other = hog(0.3)
    for _ in range(3):
        before = other.text().count("at it")
        with turn():
            assert other.text().count("at it") <= before + 2


def test_the_threads_of_a_process_share_its_turn(hog: Callable[[float], Process]) -> None:
    other, written_by = hog(0.3), list[str]()

    def write(reason: str) -> None:
        with turn():
            written_by.append(reason)
        connection.close()

    threads = [threading.Thread(target=write, args=[str(number)]) for number in range(5)]
    before = other.text().count("at it")
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sorted(written_by) == ["0", "1", "2", "3", "4"]
    assert other.text().count("at it") <= before + 3


def test_a_turn_ends_with_the_process_that_has_it(hog: Callable[[float], Process]) -> None:
    other, done = hog(3600), threading.Event()

    def write() -> None:
        write_much()
        connection.close()
        done.set()

    thread = threading.Thread(target=write)
    thread.start()
    assert not done.wait(0.2)
    other.kill()
    assert done.wait(10)
    thread.join()


def test_who_has_waited_long_enough_writes_without_a_turn(hog: Callable[[float], Process]) -> None:
    hog(3600)
    with turn_among_processes(str(connection.settings_dict["NAME"]), patience=0.1):
        pass
    assert turn_file._vain.until > time.monotonic(), "and those after it do not wait at all"


def test_the_turns_are_for_all_who_may_write_to_the_database(tmp_path: Path) -> None:
    database = tmp_path / "db"
    database.touch()
    database.chmod(0o660)
    with turn_among_processes(str(database), patience=1.0):
        assert (tmp_path / "db-turn").stat().st_mode & 0o777 == 0o660


def test_where_no_turn_can_be_had_one_writes_without(tmp_path: Path) -> None:
    (tmp_path / "db").touch()
    (tmp_path / "db-turn").mkdir()
    with turn_among_processes(str(tmp_path / "db"), patience=1.0):
        pass


def test_for_whom_a_time_limit_has_taken_out_of_the_queue_nobody_waits() -> None:
    queue, inside, leave = turns.Queue(), threading.Event(), threading.Event()

    def hold() -> None:
        with queue.turn(nullcontext()):
            inside.set()
            leave.wait(10)

    thread = threading.Thread(target=hold)
    thread.start()
    assert inside.wait(10)
    with _time_limit(0.05), pytest.raises(SoftTimeLimitExceeded), queue.turn(nullcontext()):
        raise AssertionError("it was not its turn")
    leave.set()
    thread.join()
    assert queue._waiting == 0
    assert queue._ours is None, "the turn of the process is over"


@contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    def exceeded(*_: Any) -> None:
        raise SoftTimeLimitExceeded

    before = signal.signal(signal.SIGALRM, exceeded)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def test_a_transaction_in_a_transaction_waits_for_nobody() -> None:
    with written(), written():
        models.Producer.objects.create(id="p", seen_at="2026-11-22T00:00Z")
    assert models.Producer.objects.count() == 1


def test_what_steers_workers_and_queues_writes_in_its_turn(ops: User, redis_url: str) -> None:
    tasks.add.apply_async((1, 1), queue="high")
    for queue in ("high", "low"):
        asked(ops, PurgeQueue(queue, confirm=queue))
        asked(ops, PauseQueue(queue, lasts=60.0))
    models.Order.objects.filter(arguments__contains="low").update(expires_at=datetime.now(UTC))
    control, pauses = Control(app, settings.CELERY_BROKER_URL), Pauses(settings.REDIS_URL)
    with connection.execute_wrapper(only_in_its_turn):
        for minutes in (0, 2):
            now = datetime.now(UTC) + timedelta(minutes=minutes)
            assert carry_out(control, now) == (minutes == 0)
            pauses.keep(control, now)
    assert not models.Order.objects.filter(answered_at=None).exists()
    assert not models.Pause.objects.exists()


def only_in_its_turn(execute: Any, sql: str, *more: Any) -> Any:
    """Let through what reads, and what writes while it has the turn."""
    assert turns._queue.is_taken() or not sql.startswith(("INSERT", "UPDATE", "DELETE")), sql
    return execute(sql, *more)


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
