"""Payload cut into partitions on PostgreSQL: with rows in it, while it is written, and dropped when empty."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection, connections, transaction

from jobs import models
from jobs.forgetting import forget_jobs
from jobs.record import Committed, Record
from jobs.retention import Retention
from jobs.store import partitions
from jobs.store.partitions import FIRST, REST, TABLE, Partition
from tests.harness import eventually
from tests.stream import entry_of, life_of

WIDTH = 100
NOW = "2026-11-21T03:00:00Z"
TEMPLATE = "payload_as_migrated"

on_postgresql = pytest.mark.skipif("connection.vendor != 'postgresql'", reason="SQLite has no partitions")


def execute(*statements: str) -> None:
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


@pytest.fixture
def whole(transactional_db: None) -> Iterator[None]:
    """Payload in one piece, before and after."""
    execute(f"CREATE TABLE {TEMPLATE} (LIKE {TABLE} INCLUDING ALL) WITH (fillfactor = 50)")
    yield
    execute(
        f"DROP TABLE {TABLE}",
        f"ALTER TABLE {TEMPLATE} RENAME TO {TABLE}",
        f"ALTER INDEX {TEMPLATE}_pkey RENAME TO {TABLE}_pkey",
    )


def record_jobs(*names: str, first_id: int | None = None) -> None:
    """Record these jobs, numbered on from `first_id`."""
    if first_id is not None:
        models.Job.objects.create(id=first_id - 1, task_id=f"before {first_id}", state="queued", seen_at=NOW)
    record = Record("test")
    for number, name in enumerate(names):
        record.commit([entry_of(life_of(name), f"{name}-{number}")])


def partition_of(name: str) -> str:
    """The table in which the payload of this job lies."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT p.tableoid::regclass::text FROM {TABLE} p JOIN nightdesk_jobs_job j ON j.id = p.job_id "
            "WHERE j.task_id = %s",
            [name],
        )
        [(table,)] = cursor.fetchall()
    return str(table)


def names() -> list[str]:
    return [each.name for each in partitions.read()]


# Pure


def test_partitions_are_made_ahead_of_the_ids_to_come() -> None:
    first = Partition(FIRST, None, 300)
    made = partitions.wanted([first], last_id=120, width=WIDTH, in_rest=0)
    assert [(p.lower, p.upper) for p in made] == [(300, 400)]
    assert partitions.wanted([first, *made], last_id=120, width=WIDTH, in_rest=0) == []
    later = partitions.wanted([first, *made], last_id=350, width=WIDTH, in_rest=0)
    assert [(p.lower, p.upper) for p in later] == [(400, 500), (500, 600)]


def test_what_lies_in_the_rest_stays_there() -> None:
    made = partitions.wanted([Partition(FIRST, None, 300)], last_id=450, width=WIDTH, in_rest=450)
    assert [p.lower for p in made] == [500, 600]


def test_the_first_bound_is_above_all_that_come_while_the_table_is_checked() -> None:
    assert partitions.end_of_first(last_id=5, width=WIDTH, size=0) == 200
    busy = partitions.end_of_first(last_id=5, width=WIDTH, size=100 * partitions.CHECKED_A_SECOND)
    assert busy >= 100 * partitions.JOBS_A_SECOND


# On PostgreSQL


@on_postgresql
def test_rows_are_kept_and_new_ones_find_their_partition(whole: None) -> None:
    record_jobs("a", "b")
    upper = partitions.partition(WIDTH)[0].upper
    record_jobs("c")
    record_jobs("d", first_id=upper + 5)
    record_jobs("e", first_id=upper + 10 * WIDTH)
    assert {name: partition_of(name) for name in "abcde"} == {
        "a": FIRST, "b": FIRST, "c": FIRST, "d": f"{TABLE}_from_{upper}", "e": REST,
    }  # fmt: skip
    assert models.Payload.objects.get(job__task_id="d").args == "[]"


@on_postgresql
def test_a_payload_is_updated_where_it_lies(whole: None) -> None:
    partitions.partition(WIDTH)
    Record("test").commit([entry_of(life_of("a")[:1])])
    Record("test").commit([entry_of(life_of("a")[1:], first_seq=2)])
    payload = models.Payload.objects.get()
    assert (payload.args, payload.result) == ("[]", "1")


@on_postgresql
def test_cutting_twice_changes_nothing(whole: None) -> None:
    record_jobs("a")
    once = partitions.partition(WIDTH)
    assert partitions.partition(WIDTH) == once
    partitions.tend()
    assert partitions.read() == once


@on_postgresql
def test_it_begins_anew_after_an_interruption(whole: None) -> None:
    leave_a_bound()
    partitions.partition(WIDTH)
    record_jobs("a", first_id=8)
    assert partition_of("a") == FIRST


@on_postgresql
@pytest.mark.parametrize("statement", ["VALIDATE", "RENAME"])
def test_what_interrupts_it_leaves_no_bound_behind(
    whole: None, monkeypatch: pytest.MonkeyPatch, statement: str
) -> None:
    # A connection that has had its age is kept: its session has the lock, and keeps it in a pool.
    monkeypatch.setattr(connection, "close_at", 0.0)
    session = partitions._rows("SELECT pg_backend_pid()")
    interrupt(monkeypatch, statement, Interrupted())
    with pytest.raises(Interrupted):
        partitions.partition(WIDTH)
    assert partitions._rows("SELECT pg_backend_pid()") == session
    record_jobs("a", first_id=1_000_000)
    assert partition_of("a") == TABLE


@on_postgresql
def test_a_lost_session_leaves_no_bound_behind(whole: None, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupt(monkeypatch, "VALIDATE", "SELECT pg_terminate_backend(pg_backend_pid())")
    with pytest.raises(OperationalError, match="terminating connection"):
        partitions.partition(WIDTH)
    record_jobs("a", first_id=1_000_000)
    assert partition_of("a") == TABLE


@on_postgresql
def test_the_monitor_takes_away_the_bound_that_a_killed_command_left(whole: None) -> None:
    leave_a_bound()
    partitions.tend()
    record_jobs("a", first_id=1_000_000)
    assert partition_of("a") == TABLE


@on_postgresql
def test_the_monitor_leaves_the_bound_of_a_command_at_work(whole: None) -> None:
    leave_a_bound()
    with ThreadPoolExecutor(1) as pool:
        pool.submit(execute, f"SELECT pg_advisory_lock({partitions._ADVISORY_LOCK})").result()
        partitions.tend()
        assert partitions._is_bounded()
        pool.submit(connections.close_all).result()
    eventually(lambda: not tend_finds_a_bound())


class Interrupted(BaseException):
    """As Ctrl-C is."""


def interrupt(monkeypatch: pytest.MonkeyPatch, statement: str, by: BaseException | str) -> None:
    """Where `statement` would alter the table, `by` is raised or executed in its place, once."""
    execute_as_asked, by_turns = partitions._execute, iter([by])

    def execute_or_not(asked: str) -> None:
        if statement not in asked or (instead := next(by_turns, None)) is None:
            execute_as_asked(asked)
        elif isinstance(instead, str):
            execute_as_asked(instead)
        else:
            raise instead

    monkeypatch.setattr(partitions, "_execute", execute_or_not)


def leave_a_bound() -> None:
    execute(f"ALTER TABLE {TABLE} ADD CONSTRAINT {FIRST}_only CHECK (job_id < 7) NOT VALID")


def tend_finds_a_bound() -> bool:
    """Whether there still is one after the monitor's turn: a session ends a moment after it is closed."""
    partitions.tend()
    return partitions._is_bounded()


@on_postgresql
def test_the_table_is_not_looked_through_under_the_lock(whole: None) -> None:
    said: list[str] = []
    connection.ensure_connection()
    connection.connection.add_notice_handler(lambda notice: said.append(notice.message_primary))
    execute("SET client_min_messages = debug1")
    partitions.partition(WIDTH)
    execute("RESET client_min_messages")
    assert f'partition constraint for table "{FIRST}" is implied by existing constraints' in said


@on_postgresql
def test_jobs_are_recorded_while_the_table_is_cut(whole: None) -> None:
    stop = threading.Event()
    recorded: list[Committed] = []

    def go_on() -> None:
        record = Record("test")
        while not stop.is_set():
            recorded.append(record.commit([entry_of(life_of(f"job-{len(recorded)}"), f"{len(recorded)}")]))
        connection.close()

    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(go_on)
        eventually(lambda: len(recorded) > 5)
        partitions.partition(100_000)
        so_far = len(recorded)
        eventually(lambda: len(recorded) > so_far + 5)
        stop.set()
        writing.result()
    assert models.Payload.objects.count() == models.Job.objects.count() == len(recorded)
    assert models.Quarantine.objects.count() == 0


@on_postgresql
def test_somebody_who_holds_the_table_is_not_waited_for_without_end(
    whole: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partitions, "LOCK_TRIES", 2)
    monkeypatch.setattr(partitions, "LOCK_PAUSE", 0)
    holding, let_go = threading.Event(), threading.Event()

    def hold() -> None:
        with transaction.atomic():
            models.Payload.objects.exists()
            holding.set()
            let_go.wait(30)
        connection.close()

    with ThreadPoolExecutor(1) as pool:
        held = pool.submit(hold)
        holding.wait(10)
        with pytest.raises(partitions.PartitioningRefused, match="never free"):
            partitions.partition(WIDTH)
        let_go.set()
        held.result()
    assert names() == []
    assert partitions.partition(WIDTH)[0].name == FIRST


@on_postgresql
def test_partitions_follow_the_ids_and_emptied_ones_are_dropped(whole: None) -> None:
    record_jobs("a")
    first, *_ = partitions.partition(WIDTH)
    record_jobs("b", first_id=first.upper + 4 * WIDTH)
    latest = models.Job.objects.get(task_id="b").id
    partitions.tend()
    kept, *ahead = partitions.read()
    assert kept == first
    assert all(each.upper > latest for each in ahead)
    assert ahead[-1].upper > latest + WIDTH

    old = list(models.Job.objects.filter(id__lt=first.upper).values_list("id", flat=True))
    forget_jobs(old, Retention(), now=datetime(2027, 11, 21, tzinfo=UTC))
    partitions.tend()
    assert FIRST not in names()
    record_jobs("c")
    assert models.Payload.objects.count() == 2


@on_postgresql
def test_updates_stay_on_their_page_in_each_partition(whole: None) -> None:
    partitions.partition(WIDTH)
    with connection.cursor() as cursor:
        cursor.execute("SELECT relname FROM pg_class WHERE relname LIKE %s AND relkind = 'r'", [f"{TABLE}%"])
        tables = {row[0] for row in cursor.fetchall()}
        cursor.execute("SELECT relname FROM pg_class WHERE 'fillfactor=50' = ANY(reloptions)")
        assert tables <= {row[0] for row in cursor.fetchall()}


@on_postgresql
def test_the_command_says_what_there_is(whole: None, capsys: pytest.CaptureFixture[str]) -> None:
    call_command("partition_payloads", rows_per_partition=100_000)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{FIRST}: jobs 0 to 199999"
    assert lines[1] == f"{TABLE}_from_200000: jobs 200000 to 299999"


def test_too_few_rows_are_refused() -> None:
    with pytest.raises(CommandError, match="at least 100000"):
        call_command("partition_payloads", rows_per_partition=99)


@pytest.mark.django_db
@pytest.mark.skipif("connection.vendor == 'postgresql'", reason="there it can")
def test_sqlite_is_refused_in_a_line() -> None:
    with pytest.raises(CommandError, match="only PostgreSQL"):
        call_command("partition_payloads")
    partitions.tend()
