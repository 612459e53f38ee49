"""What Beat does not send in time is written down by the monitor, and told to whoever asks."""

from __future__ import annotations

import itertools
import signal
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone
from django_celery_beat.models import IntervalSchedule, PeriodicTask, PeriodicTasks

from jobs.models import Heartbeat, SchedulePolicy, Tick, Timeline
from jobs.ticks import beat_state, missed_since
from tests.harness import Installation, eventually
from workers.app import app
from workers.monitor.missed import MissedTicks
from workers.scheduler import Scheduler

pytestmark = pytest.mark.django_db(transaction=True)
MINUTE = timedelta(minutes=1)


def every(seconds: int, name: str = "often", **fields: Any) -> PeriodicTask:
    interval, _ = IntervalSchedule.objects.get_or_create(every=seconds, period="seconds")
    what = {"task": "tests.tasks.add", "queue": "beaten", "args": "[1, 2]"}
    task: PeriodicTask = PeriodicTask.objects.create(name=name, interval=interval, **{**what, **fields})
    return task


def decided(task: PeriodicTask, until: datetime, next_at: datetime | None) -> None:
    """As Beat has left it."""
    from jobs.ticks.plans import rhythm_text

    Timeline.objects.create(schedule=task, rhythm=rhythm_text(task), decided_until=until, next_at=next_at)


def look(now: datetime | None = None) -> int:
    return MissedTicks(leading=lambda: True).write_down(now or timezone.now())


def test_what_beat_did_not_send_is_missed_half_a_minute_later() -> None:
    now = timezone.now()
    task = every(60)
    decided(task, now - timedelta(seconds=85), now - timedelta(seconds=25))
    assert look(now) == 0
    assert look(now + timedelta(seconds=6)) == 1
    tick = Tick.objects.get()
    assert (tick.outcome, tick.reason, tick.due) == ("missed", "away", now - timedelta(seconds=25))
    (missed,) = missed_since(now)
    assert (missed.name, missed.task, missed.queue, missed.due) == (
        "often",
        "tests.tasks.add",
        "beaten",
        tick.due,
    )
    assert missed_since(now + MINUTE) == []


def test_each_missed_tick_is_written_once_also_by_another_monitor() -> None:
    now = timezone.now()
    decided(every(60), now - 10 * MINUTE, now - 9 * MINUTE)
    monitor = MissedTicks(leading=lambda: True)
    assert monitor.write_down(now) == 9
    assert monitor.write_down(now) == 0
    assert look(now) == 0
    assert monitor.write_down(now + MINUTE) == 1
    assert Tick.objects.count() == 10


def test_a_schedule_that_no_beat_has_seen_is_missed_too() -> None:
    task = every(60)
    PeriodicTask.objects.filter(pk=task.pk).update(date_changed=timezone.now() - 5 * MINUTE)
    assert look() == 4
    assert look() == 0


def test_what_is_off_paused_or_left_out_is_not_missed() -> None:
    now = timezone.now()
    off, paused, broken = every(60, "off"), every(60, "paused"), every(60, "broken")
    for task in (off, paused, broken):
        decided(task, now - 10 * MINUTE, now - 9 * MINUTE)
    PeriodicTask.objects.filter(pk=off.pk).update(enabled=False)
    SchedulePolicy.objects.create(schedule=paused, paused_until=now + MINUTE)
    IntervalSchedule.objects.filter(pk=broken.interval_id).update(every=0)
    assert look(now) == 0
    assert Timeline.objects.get(schedule=off).rhythm == ""


@pytest.mark.parametrize(("catch_up", "fired", "missed"), [("skip", 0, 9), ("once", 1, 8), ("all", 9, 0)])
def test_a_beat_that_comes_back_makes_up_for_what_was_missed(
    redis_url: str, catch_up: str, fired: int, missed: int
) -> None:
    now = timezone.now()
    task = every(60)
    SchedulePolicy.objects.create(schedule=task, catch_up=catch_up)
    decided(task, now - 9 * MINUTE - timedelta(seconds=45), now - 8 * MINUTE - timedelta(seconds=45))
    look(now)
    before = dict(Tick.objects.values_list("due", "pk"))
    assert len(before) == 9

    beat = Scheduler(app=app)
    beat.work(now)
    beat.work(now)

    assert dict(Tick.objects.values_list("due", "pk")) == before
    assert Tick.objects.filter(outcome="fired").count() == fired
    assert Tick.objects.filter(outcome="missed").count() == missed
    task.refresh_from_db()
    assert task.total_run_count == fired


def test_a_long_absence_is_counted_once_by_monitor_and_beat(redis_url: str) -> None:
    now = timezone.now()
    task = every(1)
    decided(task, now - 100 * MINUTE, now - 100 * MINUTE)
    monitor = MissedTicks(leading=lambda: True)
    monitor.write_down(now - 50 * MINUTE)
    monitor.write_down(now - 49 * MINUTE)
    MissedTicks(leading=lambda: True).write_down(now - 40 * MINUTE)
    Scheduler(app=app).work(now)
    told = sum(Tick.objects.values_list("count", flat=True))
    assert told == 6_000


def test_beat_is_never_heard_well_silent_or_stalled() -> None:
    now = timezone.now()
    assert beat_state(now).state == "never"
    Heartbeat.objects.create(name="beat", at=now, host="h", pid=1)
    assert beat_state(now).state == "well"
    decided(every(60), now - 2 * MINUTE, now - MINUTE)
    stalled = beat_state(now)
    assert (stalled.state, stalled.overdue_since) == ("stalled", now - MINUTE)
    silent = beat_state(now + timedelta(seconds=16))
    assert (silent.state, silent.seen_at) == ("silent", now)


@pytest.mark.slow
def test_a_beat_under_sigstop_is_known_within_the_interval_and_half_a_minute(
    installation: Installation,
) -> None:
    installation.monitor()
    task = every(5)
    beat = installation.beat()
    eventually(lambda: Tick.objects.filter(schedule=task, outcome="fired").exists(), 40, beat.text)
    beat.send(signal.SIGSTOP)
    since = timezone.now()
    eventually(lambda: beat_state(timezone.now()).state == "silent", 20)
    # The interval, 30 s, and what the monitor's rounds take.
    (missed, *_) = eventually(lambda: missed_since(since), 5 + 30 + 8)
    assert missed.schedule_id == task.pk
    beat.send(signal.SIGCONT)
    eventually(lambda: beat_state(timezone.now()).state == "well", 30, beat.text)
    PeriodicTasks.update_changed()
    beat.stop()
    ticks = list(Tick.objects.filter(schedule=task).order_by("due"))
    steps = {later.due - sooner.due for sooner, later in itertools.pairwise(ticks)}
    assert steps == {timedelta(seconds=5)}
