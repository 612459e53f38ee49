"""What Beat does not send in time is written down by the monitor, and told to whoever asks."""

from __future__ import annotations

import itertools
import signal
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import IntegrityError
from django.utils import timezone
from django_celery_beat.models import IntervalSchedule, PeriodicTask, PeriodicTasks

from jobs.models import Heartbeat, SchedulePolicy, Tick, Timeline
from jobs.ticks import beat_state, missed_since
from jobs.ticks.deciding import LISTED, decide
from jobs.ticks.plans import plan_of
from tests.harness import Installation, eventually
from tests.harness.freezing import freeze_between_transactions
from workers.app import app
from workers.beat import firing
from workers.beat.known import read_known
from workers.monitor import missed
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
    (told,) = missed_since(now)
    assert (told.name, told.task, told.queue, told.due) == (
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


def test_what_beat_decides_while_the_monitor_looks_is_not_written_as_missed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = timezone.now()
    task = every(60)
    decided(task, now - 10 * MINUTE, now - 9 * MINUTE)

    def decided_meanwhile(*asked: Any) -> Any:
        Timeline.objects.filter(schedule=task).update(decided_until=now)
        return decide(*asked)

    monkeypatch.setattr(missed, "decide", decided_meanwhile)
    assert look(now) == 0
    assert not Tick.objects.exists()


def test_what_the_monitor_writes_while_beat_sends_it_is_sent_all_the_same(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = timezone.now()
    task = every(10)
    decided(task, now - timedelta(seconds=61), now - timedelta(seconds=51))
    write_rows = firing.store_timelines

    def written_meanwhile(timelines: Any) -> None:
        write_rows(timelines)
        if timelines and timelines[0].decided_until > now - timedelta(seconds=30):
            monkeypatch.undo()
            raise IntegrityError("the monitor wrote the same tick")

    monkeypatch.setattr(firing, "store_timelines", written_meanwhile)
    Scheduler(app=app).work(now)
    reasons = list(Tick.objects.filter(schedule=task).order_by("due").values_list("outcome", "reason"))
    assert reasons == [("missed", "later")] * 3 + [("fired", "")] * 3


def test_of_many_late_schedules_each_is_looked_at_in_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    now = timezone.now()
    monkeypatch.setattr(missed, "MOST", 2)
    for number in range(6):
        late = every(60, f"paused {number}" if number < 4 else f"late {number}")
        decided(late, now - 3 * MINUTE, now - 2 * MINUTE)
        if number < 4:
            SchedulePolicy.objects.create(schedule=late, paused_until=now + MINUTE)
    monitor = MissedTicks(leading=lambda: True)
    assert sum(monitor.write_down(now + timedelta(seconds=5 * number)) for number in range(3)) > 0
    assert {tick.schedule.name for tick in Tick.objects.all()} == {"late 4", "late 5"}


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


@pytest.mark.parametrize(("catch_up", "fired", "unsent"), [("skip", 0, 9), ("once", 1, 8), ("all", 9, 0)])
def test_a_beat_that_comes_back_makes_up_for_what_was_missed(
    redis_url: str, catch_up: str, fired: int, unsent: int
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
    assert Tick.objects.filter(outcome="missed").count() == unsent
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


def test_a_beat_that_sends_all_takes_them_out_of_the_row_that_stands_for_many(redis_url: str) -> None:
    now = timezone.now()
    task = every(60)
    SchedulePolicy.objects.create(schedule=task, catch_up="all")
    begin = now - 121 * MINUTE
    decided(task, begin, begin + MINUTE)
    look(now)
    assert Tick.objects.get(count__gt=1).count == 21
    beat = Scheduler(app=app)
    beat.work(now)
    rows = list(Tick.objects.filter(schedule=task).order_by("due").values_list("due", "outcome", "count"))
    assert rows == [(begin + (number + 1) * MINUTE, "fired", 1) for number in range(121)]
    task.refresh_from_db()
    assert task.total_run_count == 121


def test_after_a_long_absence_not_all_that_was_missed_is_read(redis_url: str) -> None:
    now = timezone.now()
    task = every(1)
    begin = now - 60 * MINUTE
    decided(task, begin, begin)
    missed_rows = {"schedule": task, "outcome": "missed", "known_at": now}
    each_second = (begin + timedelta(seconds=number) for number in range(1, 3_601))
    Tick.objects.bulk_create([Tick(due=due, **missed_rows) for due in each_second])
    rulings = [(task.pk, each) for each in decide(plan_of(task, begin), begin, now)]
    read = read_known(rulings, now)
    assert len(read.by_due) <= LISTED + 1
    Scheduler(app=app).work(now)
    assert Tick.objects.filter(schedule=task).count() == 3_600
    assert Tick.objects.filter(schedule=task, outcome="fired").count() == 31


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
    freeze_between_transactions(beat)
    since = timezone.now()
    eventually(lambda: beat_state(timezone.now()).state == "silent", 20)
    # The interval, 30 s, and what the monitor's rounds take.
    (told, *_) = eventually(lambda: missed_since(since), 5 + 30 + 8)
    assert told.schedule_id == task.pk
    beat.send(signal.SIGCONT)
    eventually(lambda: beat_state(timezone.now()).state == "well", 30, beat.text)
    PeriodicTasks.update_changed()
    beat.stop()
    ticks = list(Tick.objects.filter(schedule=task).order_by("due"))
    steps = {later.due - sooner.due for sooner, later in itertools.pairwise(ticks)}
    assert steps == {timedelta(seconds=5)}
