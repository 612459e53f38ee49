"""On SQLite another process writes large batches: the record is the same, whatever happens to it."""

from __future__ import annotations

import os
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis
from django.db import IntegrityError, OperationalError, connection

from jobs import models
from jobs.batch import StreamEntry
from jobs.store import faults
from jobs.store.sqlite_process import SqliteProcess
from jobs.store.tables import Move
from tests.harness import Installation, eventually
from tests.harness.processes import children_of
from tests.ingesting import at_work
from tests.stream import entry_of, life_of
from tests.test_record_events import assert_counters_equal_a_recount
from tests.test_write_rows import row_of
from workers.monitor.ingest import STREAM, Ingest
from workers.monitor.writing import FEWEST_EVENTS

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif("connection.vendor != 'sqlite'", reason="PostgreSQL's server is another process"),
]

LIVES_AN_ENTRY = 6


def lives(count: int, first: int = 0) -> list[StreamEntry]:
    """So many jobs, a few lives an entry."""
    return [
        entry_of(
            [event for n in range(at, at + LIVES_AN_ENTRY) for event in life_of(f"job-{n}", n % 7)],
            first_seq=4 * at + 1,
            at=10 + at,
        )
        for at in range(first, first + count, LIVES_AN_ENTRY)
    ]


MANY = LIVES_AN_ENTRY * (FEWEST_EVENTS // (4 * LIVES_AN_ENTRY) + 1) * 6


def add(client: redis.Redis, entries: list[StreamEntry]) -> None:
    with client.pipeline(transaction=False) as pipe:
        for stream_id, fields in entries:
            pipe.xadd(STREAM, fields, id=stream_id)  # type: ignore[arg-type]
        pipe.execute()


def is_recorded(entry: StreamEntry) -> bool:
    return models.Position.objects.filter(last_id=entry[0]).exists()


def assert_recorded(entries: list[StreamEntry]) -> None:
    """Each of them, once."""
    assert models.Job.objects.filter(state="succeeded").count() == LIVES_AN_ENTRY * len(entries)
    assert not models.Quarantine.objects.exists()
    assert not models.Gap.objects.exists()
    assert_counters_equal_a_recount()


@contextmanager
def working(redis_url: str) -> Iterator[SqliteProcess]:
    """A monitor's loop in a thread of its own, and the process that writes for it."""
    ingest = Ingest(redis_url, committed=lambda _: None)
    with at_work(ingest):
        process = ingest._writer._process
        assert process
        yield process


def is_alive(pid: int) -> bool:
    """Not so for one that has ended and that nobody has asked about yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_what_another_process_has_written_is_recorded_once(redis_url: str) -> None:
    entries = lives(MANY)
    with redis.Redis.from_url(redis_url) as client, working(redis_url) as process:
        add(client, entries)
        eventually(lambda: is_recorded(entries[-1]), 60)
        pid = process.pid
    assert pid
    assert not is_alive(pid)
    assert_recorded(entries)


def test_few_events_need_no_other_process(redis_url: str) -> None:
    entries = lives(2 * LIVES_AN_ENTRY)
    with redis.Redis.from_url(redis_url) as client, working(redis_url) as process:
        add(client, entries)
        eventually(lambda: is_recorded(entries[-1]), 60)
        assert process.pid is None
    assert_recorded(entries)


def test_a_writer_that_is_killed_costs_nothing(redis_url: str) -> None:
    entries = lives(MANY)
    with redis.Redis.from_url(redis_url) as client, working(redis_url) as process:
        add(client, entries)
        pid = eventually(lambda: process.pid or 0, 30)
        os.kill(pid, signal.SIGKILL)
        eventually(lambda: is_recorded(entries[-1]), 60)
        assert process.pid != pid
    assert_recorded(entries)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_all_leaves_the_end_to_the_monitor(redis_url: str, number: signal.Signals) -> None:
    entries = lives(MANY)
    middle = len(entries) // 2
    with redis.Redis.from_url(redis_url) as client, working(redis_url) as process:
        add(client, entries[:middle])
        eventually(lambda: is_recorded(entries[middle - 1]), 60)
        pid = process.pid
        assert pid
        os.kill(pid, number)
        add(client, entries[middle:])
        eventually(lambda: is_recorded(entries[-1]), 60)
        assert process.pid == pid
    assert_recorded(entries)


@pytest.mark.slow
def test_the_writer_of_a_killed_monitor_leaves_no_half_batch_and_leaves(
    installation: Installation,
) -> None:
    entries = lives(MANY * 4)
    with redis.Redis.from_url(installation.redis.url) as client:
        add(client, entries)
        monitor = installation.monitor()
        [writer] = eventually(lambda: children_of(monitor.pid), 30, monitor.text)
        monitor.send(signal.SIGKILL)
        eventually(lambda: not is_alive(writer), 30)
        assert_counters_equal_a_recount()
        installation.monitor()
        eventually(lambda: is_recorded(entries[-1]), 120)
    assert_recorded(entries)


@pytest.fixture
def process() -> Iterator[SqliteProcess]:
    process = SqliteProcess()
    yield process
    process.close()


@pytest.fixture
def move() -> Move:
    position = models.Position.objects.create(source="test")
    return Move(position.pk, "0-0", "1-0", None, 1.79e9, 0.0)


def test_who_finds_the_position_moved_writes_nothing(process: SqliteProcess, move: Move) -> None:
    assert process.write(move, {"job": [row_of("job", 1)]}, [])
    assert not process.write(move, {"job": [row_of("job", 2)]}, [])
    assert list(models.Job.objects.values_list("id", flat=True)) == [1]


@pytest.mark.parametrize(
    ("odd", "fault", "of_the_data"),
    [
        ({"seen_at": None}, IntegrityError, True),
        ({"retries": -1}, IntegrityError, True),
        ({"delivery": 2**63}, OverflowError, True),
        ({"task": "half \ud800"}, UnicodeEncodeError, True),
    ],
    ids=str,
)
def test_what_is_refused_is_refused_whole_as_by_a_connection_of_our_own(
    process: SqliteProcess, move: Move, odd: dict[str, Any], fault: type[Exception], of_the_data: bool
) -> None:
    with pytest.raises(fault) as raised:
        process.write(move, {"job": [row_of("job", 1), row_of("job", 2, **odd)]}, [])
    assert faults.may_be_of_the_data(raised.value) is of_the_data
    assert models.Job.objects.count() == 0
    assert process.write(move, {"job": [row_of("job", 1)]}, [])


def test_a_lock_is_no_fault_of_the_data(
    process: SqliteProcess, move: Move, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(connection.settings_dict["OPTIONS"], "timeout", 0.1)
    with closing(sqlite3.connect(connection.settings_dict["NAME"], isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(OperationalError, match="locked") as raised:
            process.write(move, {"job": [row_of("job", 1)]}, [])
    assert not faults.may_be_of_the_data(raised.value)
    assert process.write(move, {"job": [row_of("job", 1)]}, [])
