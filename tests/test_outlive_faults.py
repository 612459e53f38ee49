"""A real monitor that is late, killed, frozen, locked out, doubled: each job counts once, none is lost."""

from __future__ import annotations

import itertools
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import redis
from django.db import OperationalError, connection, transaction

from jobs import models
from jobs.batch import StreamEntry
from tests.harness import Installation, Process, eventually
from tests.harness.processes import ROOT, python
from tests.stream import entry_of, life_of
from tests.test_record_events import assert_counters_equal_a_recount
from workers.monitor.ingest import STREAM
from workers.monitor.lease import SECONDS as LEASE_SECONDS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600), pytest.mark.django_db(transaction=True)]

_numbers = itertools.count()
ENDS = ("task-succeeded", "task-succeeded", "task-failed")


@pytest.fixture
def client(installation: Installation) -> redis.Redis:
    return redis.Redis.from_url(installation.redis.url)


@pytest.fixture
def a_monitor(installation: Installation) -> Callable[[], Process]:
    """Starts a monitor with a log of its own: what it says, it says now."""
    command = python(str(ROOT / "manage.py"), "monitor")
    return lambda: installation.start(f"outliving-{next(_numbers)}", command)


@pytest.fixture
def leader(a_monitor: Callable[[], Process]) -> Process:
    """A monitor that works."""
    monitor = a_monitor()
    monitor.says("this monitor leads")
    return monitor


class Trace:
    """Jobs `first` to `last` of one producer, `every` seconds apart, a few events an entry."""

    def __init__(self, first: int, last: int, producer: str = "p1", every: float = 0.1) -> None:
        self.names = [f"job-{number}" for number in range(first, last)]
        events = [
            (event, number * every)
            for number, name in enumerate(self.names)
            for event in life_of(name, number * every, ENDS[number % 3])
        ]
        self.entries = [
            entry_of([event for event, _ in events[at : at + 7]], producer, at + 1, at=events[at][1] + 10)
            for at in range(0, len(events), 7)
        ]

    @property
    def last_id(self) -> str:
        return self.entries[-1][0]

    def add(self, client: redis.Redis) -> None:
        add(client, self.entries)

    @contextmanager
    def trickling(self, client: redis.Redis, pieces: int = 60) -> Iterator[threading.Thread]:
        """Added bit by bit, by a thread, while the test does its worst."""
        gate = threading.Event()
        size = max(1, len(self.entries) // pieces)

        def run() -> None:
            for at in range(0, len(self.entries), size):
                add(client, self.entries[at : at + size])
                gate.wait(0.1)

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield thread
        finally:
            gate.set()
            thread.join(30)


def add(client: redis.Redis, entries: list[StreamEntry]) -> None:
    with client.pipeline(transaction=False) as pipe:
        for stream_id, fields in entries:
            pipe.xadd(STREAM, fields, id=stream_id)  # type: ignore[arg-type]
        pipe.execute()


def position() -> str:
    return str(models.Position.objects.values_list("last_id", flat=True).first())


def moves_on(place: str) -> Callable[[], bool]:
    return lambda: position() != place


def is_read_to(last_id: str) -> Callable[[], bool]:
    return lambda: position() == last_id


def assert_is_recorded_whole(trace: Trace, within: float, *monitors: Process) -> None:
    """Each of its jobs, once, in so many seconds at the most."""
    eventually(is_read_to(trace.last_id), within, lambda: "".join(monitor.text() for monitor in monitors))
    states = dict(models.Job.objects.values_list("task_id", "state"))
    assert states == {name: ENDS[number % 3].removeprefix("task-") for number, name in enumerate(trace.names)}
    assert not models.Gap.objects.exists()
    assert not models.Quarantine.objects.exists()
    for tier in (models.Bucket.MINUTE, models.Bucket.HOUR):
        ended = [(b.succeeded, b.failed) for b in models.Bucket.objects.filter(tier=tier)]
        failed = sum(state == "failed" for state in states.values())
        assert (sum(s for s, _ in ended), sum(f for _, f in ended)) == (len(states) - failed, failed)
    assert_counters_equal_a_recount()


def test_an_hour_without_a_monitor_is_read_up_and_counted_in_its_minutes(
    a_monitor: Callable[[], Process], client: redis.Redis
) -> None:
    trace = Trace(0, 3_000, every=1.2)
    trace.add(client)
    assert_is_recorded_whole(trace, 120, a_monitor())
    minutes = models.Bucket.objects.filter(tier=models.Bucket.MINUTE, succeeded__gt=0).count()
    assert 60 <= minutes <= 61


def test_a_monitor_killed_right_after_a_commit_counts_nothing_twice(
    a_monitor: Callable[[], Process], client: redis.Redis
) -> None:
    trace = Trace(0, 3_000)
    with trace.trickling(client, pieces=300):
        for _ in range(4):
            place, monitor = position(), a_monitor()
            eventually(moves_on(place), 60, monitor.text, every=0.001)
            monitor.kill()
            forget_the_lease(client)
    assert_is_recorded_whole(trace, 60, a_monitor())


def test_of_two_monitors_one_that_was_frozen_for_long_is_fenced_when_it_wakes(
    leader: Process, a_monitor: Callable[[], Process], client: redis.Redis
) -> None:
    trace, second = Trace(0, 3_000), a_monitor()
    second.says("stands by")
    with trace.trickling(client, pieces=200):
        for frozen, other in ((leader, second), (second, leader)):
            stopped_between_commits(frozen)
            eventually(moves_on(position()), LEASE_SECONDS + 30, other.text)
            frozen.send(signal.SIGCONT)
            eventually(moves_on(position()), 30, other.text)
    assert_is_recorded_whole(trace, 60, leader, second)
    assert (leader.exit_code, second.exit_code) == (None, None)


def test_a_database_that_is_locked_for_long_holds_the_record_up_and_costs_nothing(
    leader: Process, client: redis.Redis
) -> None:
    trace = Trace(0, 1_000)
    with trace.trickling(client, pieces=20), locked():
        leader.says("again in", 120)
    assert_is_recorded_whole(trace, 90, leader)


def test_a_redis_that_is_killed_and_comes_back_costs_nothing(
    leader: Process, installation: Installation, client: redis.Redis
) -> None:
    trace = Trace(0, 1_000)
    half = len(trace.entries) // 2
    add(client, trace.entries[:half])
    eventually(is_read_to(trace.entries[half - 1][0]), 30, leader.text)
    for _ in range(3):
        installation.redis.kill()
        installation.redis.start()
    add(client, trace.entries[half:])
    assert_is_recorded_whole(trace, 60, leader)


@contextmanager
def locked() -> Iterator[None]:
    """Somebody else holds what the monitor must write to."""
    with transaction.atomic():
        models.Position.objects.update(lag=None)
        yield


def stopped_between_commits(monitor: Process) -> None:
    """SIGSTOP to a monitor, at a moment when it holds no lock of the database."""
    while True:
        monitor.send(signal.SIGSTOP)
        if can_write():
            return
        monitor.send(signal.SIGCONT)


def can_write() -> bool:
    """Whether nobody holds a lock on the position."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SET lock_timeout = '200ms'")
        else:
            cursor.execute("PRAGMA busy_timeout = 200")
    try:
        with transaction.atomic():
            return bool(models.Position.objects.update(lag=None))
    except OperationalError:
        return False
    finally:
        connection.close()


def forget_the_lease(client: redis.Redis) -> None:
    """A killed monitor leaves its lease behind; the next one need not wait for its end."""
    leases: Any = client.keys("nightdesk:lease:*")
    if leases:
        client.delete(*leases)
