"""So many at once, so many in a while: over all workers, and nothing is lost in the waiting."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest

from jobs.models import Job
from tests import promises
from tests.harness import Installation, Process, RedisServer, eventually
from tests.working import lines
from tests.working import worker as suite_worker
from workers import effects, limits
from workers.app import app
from workers.brokers import connect
from workers.brokers.aside import LINES, SLOTS, Aside, Line
from workers.limits import seconds_between
from workers.putting_back import PutBack
from workers.task import Task

ALONE = Line("alone", 1)


@pytest.fixture
def noted(tmp_path: Path) -> Path:
    return tmp_path / "noted"


@pytest.fixture
def aside(redis_url: str) -> Iterator[Aside]:
    aside = Aside()
    yield aside
    aside.close()


def worker(installation: Installation, slots: int = 4, **settings: str) -> Process:
    return suite_worker(installation, slots=slots, tasks="tests.promises", **settings)


def most_at_once(told: list[str]) -> int:
    spans = sorted((float(at), int(change)) for at, change in (line.split() for line in told))
    return max(accumulate(change for _, change in spans))


def test_no_more_run_at_once_than_allowed_over_all_workers_and_all_run(
    installation: Installation, redis_server: RedisServer, noted: Path
) -> None:
    for _ in range(10):
        promises.two_at_once.delay(str(noted), 0.2)
    for _ in range(2):
        worker(installation, slots=3)
    installation.monitor()
    eventually(lambda: len(lines(noted)) == 20, 40)
    assert most_at_once(lines(noted)) == 2
    eventually(lambda: Job.objects.filter(state="succeeded").count() == 10)
    assert set(Job.objects.values_list("retries", flat=True)) == {0}
    with redis_server.client() as client:
        eventually(lambda: not client.exists(LINES, f"{SLOTS}{promises.two_at_once.name}"))
    assert connect(redis_server.url).unacked() == 0


@pytest.mark.slow
def test_each_key_has_a_line_of_its_own_and_first_come_is_first_served(
    installation: Installation, noted: Path
) -> None:
    for shop in "AABAB":
        promises.one_a_shop.delay(str(noted), shop)
    worker(installation)
    eventually(lambda: len(lines(noted)) == 10, 30)
    told = lines(noted)
    for shop in "AB":
        assert most_at_once([f"{n} {line.split()[1]}" for n, line in enumerate(told) if shop in line]) == 1
    assert most_at_once([f"{n} {line.split()[1]}" for n, line in enumerate(told)]) == 2


@pytest.mark.slow
def test_the_slot_of_a_killed_worker_comes_back(
    installation: Installation, redis_server: RedisServer, noted: Path, tmp_path: Path
) -> None:
    first = worker(installation, slots=1)
    promises.hold_alone.delay(str(noted), str(tmp_path / "done"))
    eventually(lambda: lines(noted))
    first.kill()
    waiting = promises.hold_alone.delay(str(noted), str(tmp_path / "done"))
    (tmp_path / "done").touch()
    worker(installation, slots=1)
    waiting.get(timeout=60)


def test_no_more_start_in_a_while_than_allowed_over_all_workers(
    installation: Installation, noted: Path
) -> None:
    for _ in range(6):
        promises.twice_a_second.delay(str(noted))
    for _ in range(2):
        worker(installation)
    eventually(lambda: len(lines(noted)) == 6, 30)
    starts = sorted(float(line) for line in lines(noted))
    assert starts[-1] - starts[0] >= 5 * 0.5 - 1.0  # who has waited comes back to within a second


def test_a_slot_goes_to_the_first_in_line_and_to_nobody_else(aside: Aside) -> None:
    assert aside.enter(ALONE, "a", 30.0) == 1
    assert aside.enter(ALONE, "a", 30.0) == 2
    assert aside.enter(ALONE, "b", 30.0) == 0
    aside.leave(ALONE, "a")
    assert aside.enter(ALONE, "b", 0.05) == 1
    eventually(lambda: aside.enter(ALONE, "c", 30.0) == 1)  # b has died


def test_a_message_is_aside_or_in_its_queue_and_comes_back_as_it_was(
    aside: Aside, redis_server: RedisServer, redis_url: str
) -> None:
    promises.note_each_time.apply_async(("file",), queue="here", priority=7, task_id="odd\nid")
    broker = connect(redis_url)
    with app.connection_for_read() as connection, redis_server.client() as client:
        channel: Any = connection.default_channel
        [before] = [client.lrange(key, 0, -1) for key in client.scan_iter("here*")]
        for delay, line in ((0.0, None), (0.0, ALONE)):
            message = channel.basic_get("here")
            aside.put(message, "odd\nid", delay, line)
            channel.qos.forget(message.delivery_tag)
            assert broker.unacked() == 0
            aside.put(message, "odd\nid", delay, line)  # it isn't there any more: nothing happens
            aside.sweep()
            [after] = [client.lrange(key, 0, -1) for key in client.scan_iter("here*")]
            assert [len(each) for each in (before, after)] == [1, 1]
        assert client.zscore(f"{SLOTS}alone", "odd id")


def test_a_turn_is_kept_by_whoever_comes_in_time_and_others_queue_behind(aside: Aside) -> None:
    waits = [aside.ask("bucket", job, 10.0, 1) for job in "abc"]
    assert waits[0] == 0.0
    assert waits[1] == pytest.approx(10.0, abs=1)
    assert waits[2] == pytest.approx(20.0, abs=1)
    assert aside.ask("bucket", "c", 10.0, 1) == 0.0  # it has waited, as far as we know
    assert aside.ask("bucket", "c", 10.0, 1) == pytest.approx(30.0, abs=1)
    burst = [aside.ask("other", job, 10.0, 3) for job in "abcd"]
    assert burst[:3] == [0.0, 0.0, 0.0]
    assert burst[3] == pytest.approx(10.0, abs=1)


def test_who_comes_long_after_its_turn_asks_again(aside: Aside, redis_server: RedisServer) -> None:
    aside.ask("bucket", "a", 10.0, 1)
    aside.ask("bucket", "b", 10.0, 1)
    with redis_server.client() as client:
        client.set("nightdesk:reserved:bucket:b", time.time() - 60)
    assert aside.ask("bucket", "b", 10.0, 1) > 10


def test_a_rate_is_read_and_nonsense_refused() -> None:
    assert [seconds_between(rate) for rate in ("100/m", "5/s", "1 / h", "2/d")] == [0.6, 0.2, 3600, 43_200]
    for odd in ("", "m", "100", "0/m", "-1/s", "5/week", "1.5/s"):
        with pytest.raises(ValueError, match="should be like 100/m"):
            seconds_between(odd)
    for option in ({"rate": "often"}, {"concurrency": 0}, {"burst": 0}):
        with pytest.raises(ValueError, match="should be"):
            type("Odd", (Task,), {"name": "odd", **option})()


@pytest.mark.parametrize("fault", [PutBack("it runs already"), RuntimeError("the database is full")])
def test_who_may_not_begin_gives_back_what_it_took_and_nothing_else(
    aside: Aside, monkeypatch: pytest.MonkeyPatch, fault: Exception
) -> None:
    def refuse(run: Any) -> None:
        raise fault

    monkeypatch.setattr(effects, "begin", refuse)
    task: Any = promises.hold_alone
    line = Line(task.name, 1)
    task.push_request(id="job", args=("file", "done"), kwargs={}, is_eager=False)
    try:
        with pytest.raises(type(fault)):
            task.before_start("job", ("file", "done"), {})
        assert aside.enter(line, "other", 30.0) == 1
        aside.leave(line, "other")

        assert aside.enter(line, "job", 30.0) == 1  # another message of this job runs
        with pytest.raises(type(fault)):
            task.before_start("job", ("file", "done"), {})
        assert aside.enter(line, "other", 30.0) == 0
    finally:
        task.pop_request()
    assert not limits.held()


def test_who_has_left_holds_no_slot_by_a_renewal_that_comes_too_late(aside: Aside) -> None:
    aside.enter(ALONE, "a", 0.05)
    aside.hold(ALONE, "a", 30.0)
    assert aside.enter(ALONE, "b", 30.0) == 0
    aside.leave(ALONE, "a")
    aside.hold(ALONE, "a", 30.0)
    assert aside.enter(ALONE, "b", 30.0) == 1
