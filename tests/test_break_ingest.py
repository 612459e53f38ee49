"""The monitor's loop, broken: reads are bounded, what fails is tried five times, what is good stays."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest
import redis
from django.db import InterfaceError, OperationalError, ProgrammingError

from jobs import models, store
from jobs.batch import StreamEntry
from jobs.record import Record
from jobs.store.faults import may_be_of_the_data
from nightdesk.entry import stream_time
from tests.harness import Installation, eventually
from tests.harness.processes import python
from tests.ingesting import at_work
from tests.stream import START, entry_of, life_of
from tests.test_record_events import assert_counters_equal_a_recount
from workers.monitor.caution import MOST_TRIES
from workers.monitor.events import BATCH_BYTES, PIECE_ENTRIES, EventStream, next_piece, order
from workers.monitor.ingest import STREAM, Ingest

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def client(redis_url: str) -> redis.Redis:
    return redis.Redis.from_url(redis_url)


def add(client: redis.Redis, *entries: StreamEntry) -> None:
    """Write entries under their own ids."""
    with client.pipeline(transaction=False) as pipe:
        for stream_id, fields in entries:
            pipe.xadd(STREAM, fields, id=stream_id)  # type: ignore[arg-type]
        pipe.execute()


def lives(*names: str, producer: str = "p1") -> list[StreamEntry]:
    """One entry for each of these jobs, from its publish to its success."""
    return [
        entry_of(life_of(name), producer, 4 * number + 1, at=10 + number) for number, name in enumerate(names)
    ]


def work_until(url: str, done: Callable[[], bool]) -> None:
    """A monitor's loop in a thread of its own, until `done`."""
    with at_work(Ingest(url, committed=lambda _: None)):
        eventually(done, 60, str_of_the_record)


def str_of_the_record() -> str:
    return f"{list(models.Position.objects.values())} {list(models.Quarantine.objects.values())}"


def is_recorded(entry: StreamEntry) -> Callable[[], bool]:
    return lambda: models.Position.objects.filter(last_id=entry[0]).exists()


def succeeded() -> set[str]:
    return set(models.Job.objects.filter(state="succeeded").values_list("task_id", flat=True))


@pytest.mark.parametrize(
    ("asked", "came", "size", "expected"),
    [
        (4, 4, 400, 8),
        (PIECE_ENTRIES, PIECE_ENTRIES, 400, PIECE_ENTRIES),
        (PIECE_ENTRIES, 3, BATCH_BYTES * 6, 1),
        (PIECE_ENTRIES, 20, BATCH_BYTES * 2, 5),
        (1, 0, 0, 2),
    ],
)
def test_a_piece_is_small_after_giants_and_grows_again(
    asked: int, came: int, size: int, expected: int
) -> None:
    assert next_piece(asked, came, size) == expected


def test_a_read_ends_soon_after_as_many_bytes_as_a_batch_may_have(client: redis.Redis) -> None:
    giant = "x" * (BATCH_BYTES // 10)
    add(client, *(entry_of([f'"{giant}"'], first_seq=n + 1, at=n) for n in range(60)))
    events, after, sizes = EventStream(client, STREAM), "0-0", []
    while found := events.read(after):
        sizes.append(len(found))
        after = found[-1][0]
    assert sum(sizes) == 60
    assert max(sizes) <= PIECE_ENTRIES


def test_entries_are_read_in_order_and_each_once(client: redis.Redis) -> None:
    entries = lives(*(f"job-{n}" for n in range(3 * PIECE_ENTRIES + 1)))
    add(client, *entries)
    read = EventStream(client, STREAM).read("0-0")
    assert [stream_id for stream_id, _ in read] == [stream_id for stream_id, _ in entries]


def refusing(
    poison: str, fault: type[Exception] = OperationalError, failing: Callable[[], bool] = lambda: True
) -> Callable[[str, Any], None]:
    """`store.write`, which doesn't take one job: as PostgreSQL refuses a row that is too large for it."""
    real = store.write

    def write(kind: str, rows: Any) -> None:
        if kind == "job" and failing() and any(poison in (row[2], "any") for row in rows):
            raise fault("not today")
        real(kind, rows)

    return write


@pytest.mark.parametrize("fault", [OperationalError, InterfaceError, RuntimeError, MemoryError])
def test_what_makes_each_commit_fail_is_set_aside_and_what_is_around_it_recorded(
    client: redis.Redis, redis_url: str, monkeypatch: pytest.MonkeyPatch, fault: type[Exception]
) -> None:
    monkeypatch.setattr("workers.monitor.ingest.PAUSE_LONGEST", 0.01)
    monkeypatch.setattr(store, "write", refusing("poison", fault))
    entries = lives("a", "b", "poison", "c")
    add(client, *entries)
    work_until(redis_url, is_recorded(entries[-1]))
    assert succeeded() == {"a", "b", "c"}
    row = models.Quarantine.objects.get()
    assert (row.reason, row.count) == (f"refused: {fault.__name__}", 4)
    assert not models.Gap.objects.exists()
    assert_counters_equal_a_recount()


def test_a_database_that_takes_nothing_for_long_costs_nothing(
    client: redis.Redis, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = itertools.count(1)
    touched: list[int] = []

    def touch(_: Any) -> None:
        if not touched and next(tries) < 4 * MOST_TRIES:
            raise OperationalError("database or disk is full")
        touched.append(1)

    monkeypatch.setattr("workers.monitor.ingest.PAUSE_LONGEST", 0.01)
    monkeypatch.setattr("jobs.record.Record.touch", touch)
    monkeypatch.setattr(store, "write", refusing("any", failing=lambda: not touched))
    entries = lives("a", "b", "c")
    add(client, *entries)
    work_until(redis_url, is_recorded(entries[-1]))
    assert next(tries) > 4 * MOST_TRIES - 1
    assert succeeded() == {"a", "b", "c"}
    assert not models.Quarantine.objects.exists()
    assert_counters_equal_a_recount()


def test_a_producer_that_no_database_can_name_is_set_aside(client: redis.Redis, redis_url: str) -> None:
    entries = lives("a", "b")
    nameless = (entries[0][0].partition("-")[0] + "-999999", {**entries[0][1], b"p": b"p\x001"})
    add(client, *sorted([entries[0], nameless, entries[1]], key=lambda entry: order(entry[0])))
    work_until(redis_url, is_recorded(entries[1]))
    assert succeeded() == {"a", "b"}
    assert models.Quarantine.objects.get().reason == "not an entry: ValueError"


class Cause(Exception):
    def __init__(self, sqlstate: str | None = None, code: int | None = None) -> None:
        self.sqlstate, self.sqlite_errorcode = sqlstate, code


@pytest.mark.parametrize(
    ("cause", "expected"),
    [
        (Cause("55P03"), False),  # a lock that was not to be had
        (Cause("53100"), False),  # the disk is full
        (Cause("57P01"), False),  # the server stops
        (Cause("40P01"), False),  # a deadlock
        (Cause("54000"), True),  # too large for an index
        (Cause("42P01"), False),  # a table is missing
        (Cause("22021"), True),
        (Cause(code=13), False),  # SQLITE_FULL
        (Cause(code=5 | 2 << 8), False),  # SQLITE_BUSY_SNAPSHOT
        (Cause(code=18), True),  # SQLITE_TOOBIG
        (Cause(), True),
    ],
)
def test_a_fault_of_the_databases_own_condemns_no_entry(cause: Cause, expected: bool) -> None:
    fault = OperationalError("not today")
    fault.__cause__ = cause
    assert may_be_of_the_data(fault) is expected


def test_a_fault_that_stays_is_met_with_patience(
    client: redis.Redis, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures = itertools.count(1)
    real = store.move_position

    def move(*args: Any) -> bool:
        if next(failures) < 40:
            raise ProgrammingError("column does not exist") from Cause("42703")
        return real(*args)

    pauses: list[float] = []
    monkeypatch.setattr("workers.monitor.ingest.PAUSE_LONGEST", 0.01)
    monkeypatch.setattr(store, "move_position", move)
    monkeypatch.setattr(Ingest, "_start_over", watched(Ingest._start_over, pauses))
    entries = lives("a", "b")
    add(client, *entries)
    work_until(redis_url, is_recorded(entries[-1]))
    assert succeeded() == {"a", "b"}
    assert pauses


def watched(start_over: Callable[..., None], pauses: list[float]) -> Callable[..., None]:
    def start(ingest: Ingest, fault: Exception, pause: float) -> None:
        pauses.append(pause)
        start_over(ingest, fault, pause)

    return start


def test_of_a_stream_that_begins_anew_with_lower_ids_all_is_read_and_the_break_is_a_gap(
    client: redis.Redis, redis_url: str
) -> None:
    old, new = lives("a", "b"), lives("b", "c", producer="p2")
    old = [(f"{int(START + 9_000 + n) * 1000}-0", fields) for n, (_, fields) in enumerate(old)]
    add(client, *old)
    work_until(redis_url, is_recorded(old[-1]))
    client.flushall()
    add(client, *new)
    work_until(redis_url, is_recorded(new[-1]))
    assert succeeded() == {"a", "b", "c"}
    assert models.Gap.objects.get(reason="replaced").lost is None
    assert client.xlen(STREAM) == 2
    assert_counters_equal_a_recount()


def test_a_stream_replaced_while_the_monitor_works_is_noticed(
    client: redis.Redis, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.monitor.ingest.TEND_SECONDS", 0.0)
    old = [(f"{int(START + 9_000) * 1000}-0", lives("a")[0][1])]
    new = lives("b", producer="p2")
    add(client, *old)

    def replaced() -> bool:
        if not is_recorded(old[-1])():
            return is_recorded(new[-1])()
        client.delete(STREAM)
        with suppress(redis.ResponseError):
            add(client, *new)
        return False

    work_until(redis_url, replaced)
    assert succeeded() == {"a", "b"}
    assert models.Gap.objects.filter(reason="replaced").count() == 1


def test_what_the_cap_cuts_off_while_the_monitor_works_is_a_gap(
    client: redis.Redis, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.monitor.ingest.TEND_SECONDS", 0.0)
    entries = lives(*"abcdef")
    add(client, *entries[:2])
    work_until(redis_url, is_recorded(entries[1]))
    add_beyond_the_cap(client, *entries[2:])
    work_until(redis_url, is_recorded(entries[-1]))
    assert succeeded() == {"a", "b", "f"}
    assert set(models.Gap.objects.values_list("reason", "lost")) == {("cap", None), ("sequence", 12)}
    assert_counters_equal_a_recount()


def add_beyond_the_cap(client: redis.Redis, *entries: StreamEntry) -> None:
    """Only the last one is left."""
    with client.pipeline() as pipe:
        for stream_id, fields in entries:
            pipe.xadd(STREAM, fields, id=stream_id)  # type: ignore[arg-type]
        pipe.xtrim(STREAM, maxlen=1, approximate=False)
        pipe.execute()


def test_what_the_cap_cuts_off_while_the_monitor_is_stuck_is_one_gap_that_grows(
    client: redis.Redis, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = lives(*"abcdef")
    add(client, *entries[:2])
    work_until(redis_url, is_recorded(entries[1]))
    with monkeypatch.context() as stuck:
        stuck.setattr("workers.monitor.ingest.PAUSE_LONGEST", 0.05)
        stuck.setattr(Record, "write", locked)
        for entry in entries[2:5]:
            add_beyond_the_cap(client, entry)
            work_until(redis_url, lambda: gap_ends_at(entry))  # noqa: B023
    assert models.Gap.objects.count() == 1
    work_until(redis_url, is_recorded(entries[4]))
    gaps = models.Gap.objects.order_by("id").values_list("reason", "lost")
    assert list(gaps) == [("cap", None), ("sequence", 8)]


def locked(*_: Any) -> None:
    raise OperationalError("database is locked")


def gap_ends_at(entry: StreamEntry) -> bool:
    ended = datetime.fromtimestamp(stream_time(entry[0]), UTC)
    return models.Gap.objects.filter(reason="cap", ended_at=ended).exists()


@pytest.mark.slow
def test_an_entry_that_kills_its_reader_is_set_aside_after_five_tries(
    client: redis.Redis, installation: Installation
) -> None:
    entries = lives("a", "b", "poison", "c", "d")
    add(client, *entries)
    deaths = 0
    while True:
        monitor = installation.start("fragile", python("-m", "tests.fragile_monitor"))
        eventually(lambda: monitor.exit_code is not None or is_recorded(entries[-1])(), 60, monitor.text)  # noqa: B023
        if monitor.exit_code is None:
            break
        deaths += 1
        assert deaths <= MOST_TRIES, monitor.text()
    assert succeeded() == {"a", "b", "c", "d"}
    assert models.Quarantine.objects.get().reason == "killed its reader"
    assert models.Gap.objects.get().lost == 4
    assert_counters_equal_a_recount()


@pytest.mark.slow
def test_a_monitor_that_is_killed_while_nothing_comes_sets_nothing_aside(
    client: redis.Redis, installation: Installation
) -> None:
    first, second = lives("a", "b")
    add(client, first)
    for _ in range(MOST_TRIES + 2):
        monitor = installation.monitor()
        [lease] = eventually(lambda: client.keys("nightdesk:lease:*"), 30, monitor.text)
        eventually(is_recorded(first), 30)
        monitor.kill()
        client.delete(lease)
    add(client, second)
    installation.monitor()
    eventually(is_recorded(second), 30, str_of_the_record)
    assert succeeded() == {"a", "b"}
    assert not models.Quarantine.objects.exists()


def test_a_stream_that_was_emptied_and_filled_anew_is_a_gap_too(client: redis.Redis, redis_url: str) -> None:
    first, _, third = lives("a", "b", "c")
    add(client, first)
    work_until(redis_url, is_recorded(first))
    client.flushall()
    add(client, third)
    work_until(redis_url, is_recorded(third))
    assert succeeded() == {"a", "c"}
    assert set(models.Gap.objects.values_list("reason", "lost")) == {("replaced", None), ("sequence", 4)}


def test_a_stream_read_to_its_end_and_trimmed_behind_it_has_no_gap(
    client: redis.Redis, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.monitor.ingest.TEND_SECONDS", 0.0)
    entries = lives(*(f"job-{n}" for n in range(400)))
    add(client, *entries[:-1])
    work_until(redis_url, lambda: is_recorded(entries[-2])() and client.xlen(STREAM) < 200)
    add(client, entries[-1])
    work_until(redis_url, is_recorded(entries[-1]))
    assert not models.Gap.objects.exists()
