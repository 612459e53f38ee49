"""The body of a chord runs once: whatever is delivered twice, whoever is killed in between."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from celery import chain, chord, group
from celery.app.task import Context
from celery.exceptions import ChordError
from django_celery_results.models import ChordCounter, TaskResult  # type: ignore[attr-defined]

from jobs.models import Attempt, Job, Standing
from tests import tasks
from tests.harness import Installation, RedisServer, eventually
from tests.working import lines, worker
from workers.app import app
from workers.brokers import connect
from workers.chords import publish_body
from workers.results import ResultBackend

QUEUE = "default"


@pytest.fixture
def noted(tmp_path: Path) -> Path:
    return tmp_path / "noted"


def sums(noted: Path, header: Any = None) -> Any:
    """A chord whose body notes that it ran."""
    numbers = [tasks.add.s(n, n) for n in range(3)] if header is None else header
    return chord(numbers, tasks.total_noted.s(str(noted)))


def deliver_again(redis_server: RedisServer) -> None:
    """Put every waiting message into its queue a second time."""
    with redis_server.client() as client:
        for key in client.scan_iter(f"{QUEUE}*"):
            waiting: Any = client.lrange(key, 0, -1)
            client.lpush(key, *waiting)


def all_done(redis_url: str) -> bool:
    broker = connect(redis_url)
    return broker.sample([QUEUE])[QUEUE].depth == 0 and broker.unacked() == 0


def test_headers_that_are_delivered_twice_count_once(
    installation: Installation, redis_server: RedisServer, redis_url: str, noted: Path
) -> None:
    result = sums(noted)()
    deliver_again(redis_server)
    worker(installation, slots=2)

    assert result.get(timeout=30) == 6
    eventually(lambda: all_done(redis_url))
    assert lines(noted) == ["body"]
    assert not ChordCounter.objects.exists()


@pytest.mark.parametrize("when", ["before", pytest.param("after", marks=pytest.mark.slow)])
def test_a_process_killed_at_the_publish_of_the_body_neither_loses_nor_repeats_it(
    installation: Installation, redis_url: str, noted: Path, when: str
) -> None:
    noted.with_name(f"noted.die-{when}").touch()
    worker(installation)
    result = sums(noted)()

    assert result.get(timeout=40) == 6
    eventually(lambda: all_done(redis_url), 30)
    assert lines(noted) == ["body"]
    assert not noted.with_name(f"noted.die-{when}").exists()
    assert not ChordCounter.objects.exists()


@pytest.mark.slow
def test_a_worker_killed_between_count_and_publish_leaves_the_body_to_the_next_delivery(
    installation: Installation, redis_url: str, noted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    noted.with_name("noted.die-before").write_text("the worker as well")
    first = worker(installation, CLAIM_LEASE="2")
    result = sums(noted)()
    eventually(lambda: first.exit_code is not None, 30)
    assert lines(noted) == []

    worker(installation)
    with app.connection_for_read() as connection:
        channel: Any = connection.default_channel
        channel.visibility_timeout = 0
        channel.qos.restore_visible(num=100)
    assert result.get(timeout=30) == 6
    eventually(lambda: all_done(redis_url))
    assert lines(noted) == ["body"]


def test_a_header_that_fails_fails_the_body_and_tells_why(installation: Installation, noted: Path) -> None:
    worker(installation)
    body = tasks.total_noted.s(str(noted)).on_error(tasks.note_failure.s(str(noted)))
    result = chord([tasks.add.s(1, 1), tasks.fail_with.s("currency")], body)()
    eventually(result.failed, 30)
    assert isinstance(result.result, ChordError)
    assert "currency" in str(result.result)
    eventually(lambda: lines(noted) == ["errback"])
    eventually(lambda: not ChordCounter.objects.exists())


def test_chords_without_a_header_within_others_and_in_chains_all_end(
    installation: Installation, redis_server: RedisServer, noted: Path
) -> None:
    inner = chord([tasks.add.s(1, 1), tasks.add.s(2, 2)], tasks.total.s())
    results = {
        "empty": (sums(noted, [])(), 0),
        "of groups": (sums(noted, [group(tasks.add.s(1, 2)), tasks.add.s(3, 4)])(), 10),
        "of chains": (sums(noted, [chain(tasks.add.s(1, 1), tasks.add.s(5)), tasks.add.s(1, 1)])(), 9),
        "of chords": (sums(noted, [inner, tasks.add.s(4, 4)])(), 14),
        "in a chain": (chain(sums(noted), tasks.add.s(1)).apply_async(), 7),
        "before a group": ((sums(noted) | group(tasks.add.s(1), tasks.add.s(2))).apply_async(), [7, 8]),
    }
    worker(installation, slots=2)
    found = {name: result.get(timeout=60) for name, (result, _) in results.items()}
    assert found == {name: expected for name, (_, expected) in results.items()}
    assert lines(noted) == ["body"] * len(results)
    eventually(lambda: not ChordCounter.objects.exists())


@pytest.mark.django_db(transaction=True)
def test_of_a_body_that_was_published_twice_the_record_knows_which_message_ran(
    installation: Installation, redis_url: str, noted: Path
) -> None:
    for _ in range(2):
        publish_body(tasks.total_noted.s(str(noted)).set(task_id="body"), [1, 2])
    worker(installation)
    installation.monitor()

    eventually(lambda: Attempt.objects.filter(state="duplicate").exists(), 30)
    eventually(lambda: all_done(redis_url))
    assert lines(noted) == ["body"]
    eventually(lambda: Job.objects.get().state == "succeeded")
    first, second = Attempt.objects.all()
    assert (first.state, second.state) == ("succeeded", "duplicate")
    assert first.delivery < second.delivery
    assert second.ended_at is not None
    assert not Standing.objects.exists()


@pytest.mark.django_db
def test_a_part_of_a_chord_that_waits_for_others_costs_one_statement(django_assert_num_queries: Any) -> None:
    backend = ResultBackend(app=app)
    group_result = app.GroupResult("group", [app.AsyncResult(name) for name in ("a", "b", "c")])
    backend.apply_chord(group_result, {})
    backend.store_result("a", 1, "SUCCESS")

    request = Context(id="a", group="group")
    with django_assert_num_queries(1):
        backend.on_chord_part_return(request, "SUCCESS", 1)
    assert TaskResult.objects.count() == 1
