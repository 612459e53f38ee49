"""A paused queue is not read: by no worker that is there, and by none that comes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson
import pytest
from django.conf import settings
from django.contrib.auth.models import User

from jobs.models import Action, Pause
from jobs.models.people import Outcome
from jobs.perform import Actor, perform
from nightdesk.paused import PAUSED
from tests import tasks
from tests.harness import Installation, RedisServer, eventually
from tests.steering import asked, done, known, reads, settled
from tests.working import lines
from workers.commands.queues import PauseQueue, ResumeQueue
from workers.commands.workers import AddConsumer
from workers.monitor.pauses import _lift_those_that_are_over


def test_a_pause_stops_those_who_read_and_resuming_brings_them_back(
    installation: Installation, ops: User, tmp_path: Path
) -> None:
    installation.monitor()
    installation.worker("high,low", name="one")
    installation.worker("low", name="two")
    one, two = known("one").name, known("two").name

    done(ops, PauseQueue("high"), "partner API down")
    assert reads(one) == {"low"}
    tasks.note.apply_async((str(tmp_path / "ran"), "held back"), queue="high")
    tasks.note.apply_async((str(tmp_path / "ran"), "low goes on"), queue="low")
    eventually(lambda: lines(tmp_path / "ran") == ["low goes on"])
    pause = Pause.objects.get()
    assert (pause.who, pause.reason, orjson.loads(pause.held)) == ("ops", "partner API down", {one: True})

    done(ops, ResumeQueue("high"))
    assert (reads(one), reads(two)) == ({"high", "low"}, {"low"})
    eventually(lambda: lines(tmp_path / "ran") == ["low goes on", "held back"])
    assert not Pause.objects.exists()


@pytest.mark.slow
def test_a_worker_that_starts_later_never_reads_a_paused_queue(
    installation: Installation, ops: User, tmp_path: Path
) -> None:
    installation.monitor()
    action = done(ops, PauseQueue("high"))
    assert orjson.loads(action.after or "")["held_by"] == []
    tasks.note.apply_async((str(tmp_path / "ran"), "from high"), queue="high")
    tasks.note.apply_async((str(tmp_path / "ran"), "from low"), queue="low")

    installation.worker("high,low")
    eventually(lambda: lines(tmp_path / "ran") == ["from low"], message="it reads the other one")
    name = known("test").name
    assert reads(name) == {"low"}
    eventually(lambda: known("test").held == "high", message="it says what it holds")

    done(ops, ResumeQueue("high"))
    eventually(lambda: lines(tmp_path / "ran") == ["from low", "from high"])
    eventually(lambda: known("test").held == "", message="it holds nothing any more")


@pytest.mark.slow
def test_a_worker_without_the_recorder_is_told_as_soon_as_it_reads(
    installation: Installation, ops: User
) -> None:
    installation.monitor()
    done(ops, PauseQueue("high"))
    installation.worker("high,low", NIGHTDESK_RECORDER="off")
    eventually(lambda: len(orjson.loads(Pause.objects.get().held)) == 1, message="it was told")
    (name,) = orjson.loads(Pause.objects.get().held)
    eventually(lambda: reads(name) == {"low"})
    done(ops, ResumeQueue("high"))
    assert reads(name) == {"high", "low"}


@pytest.mark.slow
def test_a_pause_that_is_asked_for_while_the_broker_is_away_is_not_lost(
    installation: Installation, ops: User, redis_server: RedisServer
) -> None:
    installation.monitor()
    installation.worker("high,low")
    name = known("test").name
    redis_server.stop()
    try:
        action = asked(ops, PauseQueue("high"))
        assert action.is_open
    finally:
        redis_server.start()
    assert settled(action, 60).outcome == Outcome.DONE
    eventually(lambda: reads(name) == {"low"})


@pytest.mark.slow
def test_a_pause_outlives_the_monitor_and_what_redis_knew(
    installation: Installation, ops: User, redis_server: RedisServer
) -> None:
    installation.monitor().stop()
    action = asked(ops, PauseQueue("high"))
    installation.monitor()
    assert settled(action, 40).outcome == Outcome.DONE
    with redis_server.client() as client:
        client.delete(PAUSED)
        eventually(lambda: client.smembers(PAUSED) == {b"high"}, message="the set is made again")
    installation.worker("high,low")
    eventually(lambda: reads(known("test").name) == {"low"})


@pytest.mark.slow
def test_a_pause_ends_by_itself(installation: Installation, ops: User) -> None:
    installation.monitor()
    installation.worker("high,low")
    name = known("test").name
    until = datetime.now(UTC) + timedelta(seconds=6)
    done(ops, PauseQueue("high", until=until))
    eventually(lambda: not Pause.objects.exists(), 30, "the pause is over")
    assert datetime.now(UTC) >= until
    assert reads(name) == {"high", "low"}
    action = Action.objects.latest("pk")
    told = (action.command, action.target, action.via, action.who, action.user)
    assert told == ("queue.resume", "high", "monitor", "Nightdesk", None)
    assert action.outcome == Outcome.DONE, "once the worker reads it again"


@pytest.mark.usefixtures("transactional_db")
def test_what_somebody_resumes_as_its_time_ends_is_resumed_once(ops: User) -> None:
    until = datetime.now(UTC) + timedelta(minutes=1)
    perform(by(ops), PauseQueue("high", until=until))
    read_before = list(Pause.objects.all())
    resumed = perform(by(ops), ResumeQueue("high"))
    _lift_those_that_are_over(read_before, until)
    assert Pause.objects.get().resumed_by == resumed
    assert not Action.objects.filter(via="monitor").exists()


def by(user: User) -> Actor:
    return Actor(user, "page")


@pytest.mark.parametrize("until", [timedelta(seconds=-1), timedelta(days=400)])
def test_the_end_of_a_pause_lies_ahead(ops: User, until: timedelta) -> None:
    assert perform(by(ops), PauseQueue("high", until=datetime.now(UTC) + until)).refusal == "until"
    assert not Pause.objects.exists()


def test_what_is_paused_is_not_paused_again_and_what_is_not_is_not_resumed(ops: User) -> None:
    assert perform(by(ops), ResumeQueue("high")).refusal == "not_paused"
    asked(ops, PauseQueue("high"))
    assert perform(by(ops), PauseQueue("high")).refusal == "paused"
    asked(ops, ResumeQueue("high"))
    assert perform(by(ops), ResumeQueue("high")).refusal == "not_paused"


def test_a_pause_that_is_asked_for_while_the_last_one_is_lifted_stands(ops: User) -> None:
    asked(ops, PauseQueue("high"))
    resumed = asked(ops, ResumeQueue("high"))
    asked(ops, PauseQueue("high"), "again")
    resumed.refresh_from_db()
    assert (resumed.outcome, Pause.objects.get().reason) == (Outcome.FAILED, "again")


def test_a_queue_that_nobody_knows_can_not_be_paused(ops: User) -> None:
    assert perform(by(ops), PauseQueue("hihg")).refusal == "missing"
    assert "hihg" not in settings.QUEUES


def test_no_worker_is_made_to_read_a_paused_queue(ops: User) -> None:
    from tests.test_order_workers import worker

    asked(ops, PauseQueue("high"))
    assert perform(by(ops), AddConsumer(worker().name, queue="high")).refusal == "paused"
