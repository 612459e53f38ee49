"""Several Beats over one database: each tick is sent once, whoever dies, freezes or is cut off."""

from __future__ import annotations

import itertools
import os
import random
import signal
import time
from contextlib import closing
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.conf import settings
from django.db import connection
from django.utils import timezone
from django_celery_beat.models import IntervalSchedule, PeriodicTask

from jobs.models import BeatLease, Outgoing, SchedulePolicy, Tick, Timeline
from tests.harness import Installation, Process, RedisServer, eventually
from tests.harness.freezing import freeze_between_transactions
from workers.app import app
from workers.beat.lease import Fenced, Lease
from workers.brokers import connect
from workers.brokers.redis import step_keys
from workers.scheduler import Scheduler

pytestmark = pytest.mark.django_db(transaction=True)
SECOND = timedelta(seconds=1)
QUEUE = "beaten"


def every(seconds: int, name: str = "often", **fields: Any) -> PeriodicTask:
    interval, _ = IntervalSchedule.objects.get_or_create(every=seconds, period="seconds")
    what = {"task": "tests.tasks.add", "queue": QUEUE, "args": "[1, 2]"}
    task: PeriodicTask = PeriodicTask.objects.create(name=name, interval=interval, **{**what, **fields})
    return task


def fired(task: PeriodicTask) -> list[datetime]:
    rows = Tick.objects.filter(schedule=task, outcome="fired").order_by("due")
    return list(rows.values_list("due", flat=True))


def published() -> int:
    return connect(settings.REDIS_URL).sample([QUEUE])[QUEUE].depth


def holder() -> int:
    """The pid of the Beat that works; 0 for none."""
    row = BeatLease.objects.filter(name="beat").exclude(holder="").first()
    return row.pid if row else 0


def works(beat: Process, within: float = 20.0) -> None:
    eventually(lambda: holder() == beat.pid, within, beat.text)


def assert_each_tick_has_one_job(task: PeriodicTask, redis: RedisServer) -> None:
    """No due time is absent, none is twice, and the broker has exactly the jobs that the ticks name."""
    eventually(lambda: not Outgoing.objects.exists(), 30, "the outbox is empty")
    ticks = list(Tick.objects.filter(schedule=task).order_by("due"))
    assert {tick.outcome for tick in ticks} == {"fired"}
    steps = [later.due - sooner.due for sooner, later in itertools.pairwise(ticks)]
    assert set(steps) == {SECOND}
    ids = [tick.task_id for tick in ticks]
    with closing(redis.client()) as client:
        texts = [text for key in step_keys(QUEUE) for text in client.lrange(key, 0, -1)]
    sent = sorted(_id_of(text) for text in texts)
    assert sent == sorted(str(task_id) for task_id in ids)
    task.refresh_from_db()
    assert task.total_run_count == len(ids)


def _id_of(text: Any) -> str:
    import orjson

    return str(orjson.loads(text)["headers"]["id"])


def test_one_of_two_beats_works_and_the_other_follows_a_kill(
    installation: Installation, redis_server: RedisServer
) -> None:
    installation.monitor()
    task = every(1)
    first = installation.beat()
    works(first)
    second = installation.beat()
    eventually(lambda: len(fired(task)) >= 3, 20, first.text)
    first.kill()
    works(second, 10)
    count = len(fired(task))
    eventually(lambda: len(fired(task)) >= count + 2, 20, second.text)
    assert second.stop() == 0
    assert_each_tick_has_one_job(task, redis_server)


def test_a_beat_that_leaves_hands_over_at_once(installation: Installation, redis_server: RedisServer) -> None:
    installation.monitor()
    task = every(1)
    first = installation.beat()
    works(first)
    second = installation.beat()
    eventually(lambda: len(fired(task)) >= 2, 20, first.text)
    assert first.stop() == 0
    assert holder() in (0, second.pid)
    works(second, 5)
    assert second.stop() == 0
    assert holder() == 0
    assert_each_tick_has_one_job(task, redis_server)


def test_a_frozen_beat_is_fenced_when_it_wakes(installation: Installation, redis_server: RedisServer) -> None:
    installation.monitor()
    task = every(1)
    first = installation.beat()
    works(first)
    second = installation.beat()
    eventually(lambda: len(fired(task)) >= 2, 20, first.text)
    freeze_between_transactions(first)
    works(second, 20)
    count = len(fired(task))
    eventually(lambda: len(fired(task)) >= count + 2, 20, second.text)
    first.send(signal.SIGCONT)
    count = len(fired(task))
    eventually(lambda: len(fired(task)) >= count + 3, 20, second.text)
    assert holder() == second.pid
    second.stop()
    first.stop()
    assert_each_tick_has_one_job(task, redis_server)


def test_a_transaction_of_a_fenced_beat_changes_nothing(redis_url: str) -> None:
    task = every(3600, last_run_at=timezone.now() - timedelta(hours=2))
    beat = Scheduler(app=app)
    beat.work(timezone.now())
    assert len(fired(task)) == 1
    BeatLease.objects.update(holder="another")
    Timeline.objects.update(decided_until=timezone.now() - timedelta(days=2))
    beat.board.entries[task.pk].decided(timezone.now() - timedelta(days=2))
    beat.board.place([beat.board.entries[task.pk]])
    with pytest.raises(Fenced):
        beat.work(timezone.now())
    assert len(fired(task)) == 1
    assert beat.tick() > 0
    assert beat.board.entries == {}


def test_two_leases_are_never_held_at_once() -> None:
    first, second = Lease(), Lease()
    assert (first.hold(), second.hold(), first.hold()) == (True, False, True)
    first.release()
    assert (second.hold(), first.hold()) == (True, False)
    with pytest.raises(Fenced):
        first.fence()


@pytest.mark.parametrize("length", [4, pytest.param(60, marks=[pytest.mark.slow, pytest.mark.timeout(300)])])
def test_a_broker_outage_delays_ticks_and_loses_none(
    installation: Installation, redis_server: RedisServer, length: int
) -> None:
    """It lasts until so many ticks, one a second, have come due."""
    installation.monitor()
    task = every(1)
    beat = installation.beat()
    eventually(lambda: len(fired(task)) >= 2, 30, beat.text)
    redis_server.kill()
    try:
        count = len(fired(task))
        eventually(lambda: len(fired(task)) >= count + length, 30 + 2 * length, beat.text)
    finally:
        redis_server.start()
    eventually(lambda: published() >= count + length, 60, beat.text)
    beat.stop()
    assert_each_tick_has_one_job(task, redis_server)


def test_a_database_that_refuses_writes_is_waited_for(
    installation: Installation, redis_server: RedisServer
) -> None:
    """For a few seconds; `test_schedules` has what becomes of longer times, by the clock of its own."""
    installation.monitor()
    task = every(1)
    beat = installation.beat()
    eventually(lambda: len(fired(task)) >= 2, 30, beat.text)
    with writes_refused():
        time.sleep(6)
    count = len(fired(task))
    eventually(lambda: len(fired(task)) >= count + 8, 60, beat.text)
    beat.stop()
    assert_each_tick_has_one_job(task, redis_server)


class writes_refused:  # noqa: N801 it reads as what it does
    """Nobody else writes into the tables of ticks meanwhile."""

    def __enter__(self) -> None:
        self._connection = connection.copy()
        with self._connection.cursor() as cursor:
            if connection.vendor == "sqlite":
                cursor.execute("BEGIN IMMEDIATE")
            else:
                cursor.execute("BEGIN")
                cursor.execute("LOCK TABLE nightdesk_jobs_tick IN EXCLUSIVE MODE")

    def __exit__(self, *_: Any) -> None:
        with self._connection.cursor() as cursor:
            cursor.execute("ROLLBACK")
        self._connection.close()


@pytest.mark.slow
def test_ticks_missed_while_the_database_refuses_writes_for_a_minute_are_listed(
    installation: Installation, redis_server: RedisServer
) -> None:
    installation.monitor()
    task = every(2)
    beat = installation.beat()
    eventually(lambda: len(fired(task)) >= 2, 30, beat.text)
    with writes_refused():
        time.sleep(60)
    since = timezone.now()
    eventually(lambda: fired(task)[-1] > since, 60, beat.text)
    beat.stop()
    eventually(lambda: not Outgoing.objects.exists(), 30)
    ticks = list(Tick.objects.filter(schedule=task).order_by("due"))
    steps = {later.due - sooner.due for sooner, later in itertools.pairwise(ticks)}
    assert steps == {2 * SECOND}
    assert {tick.outcome for tick in ticks} == {"fired", "missed"}
    assert len({tick.task_id for tick in ticks if tick.task_id}) == published() == len(fired(task))


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_beats_killed_and_stopped_at_random_send_each_tick_once(
    installation: Installation, redis_server: RedisServer
) -> None:
    """Two minutes; TICK_MINUTES says how many else. The seed is printed."""
    seed = int(os.environ.get("TICK_SEED", random.SystemRandom().randrange(2**32)))
    print(f"TICK_SEED={seed}")
    chance = random.Random(seed)
    until = time.monotonic() + 60 * float(os.environ.get("TICK_MINUTES", "2"))
    installation.monitor()
    task = every(1)
    beats = [installation.beat(), installation.beat()]
    eventually(lambda: fired(task), 60, beats[0].text)
    while time.monotonic() < until:
        time.sleep(chance.uniform(2, 8))
        place = chance.randrange(2)
        if chance.random() < 0.5:
            beats[place].kill()
            beats[place] = installation.beat()
        else:
            beats[place].send(signal.SIGSTOP)
            time.sleep(chance.uniform(1, 8))
            beats[place].send(signal.SIGCONT)
    count = len(fired(task))
    eventually(lambda: len(fired(task)) >= count + 3, 40, beats[0].text)
    for beat in beats:
        beat.stop()
    assert_each_tick_has_one_job(task, redis_server)


def test_what_waits_for_the_job_before_is_sent_when_that_has_ended(redis_url: str) -> None:
    from django_celery_results.models import TaskResult

    task = every(60, last_run_at=timezone.now() - 150 * SECOND)
    SchedulePolicy.objects.create(schedule=task, overlap="queue", catch_up="all")
    beat = Scheduler(app=app)
    beat.work(timezone.now())
    told = list(Tick.objects.filter(schedule=task).order_by("due"))
    assert [tick.outcome for tick in told] == ["fired", "held"]
    beat.work(timezone.now())
    assert Tick.objects.filter(outcome="held").count() == 1
    TaskResult.objects.create(task_id=told[0].task_id, status="SUCCESS")
    eventually(lambda: beat.tick() and Tick.objects.filter(reason="waited").exists(), 10, every=0.3)
    task.refresh_from_db()
    assert task.total_run_count == 2
