from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from celery import Task
from celery.schedules import BaseSchedule
from django.conf import settings
from django.db import IntegrityError, OperationalError
from django.utils import timezone
from django_celery_beat.models import (
    ClockedSchedule,
    CrontabSchedule,
    IntervalSchedule,
    PeriodicTask,
    PeriodicTasks,
    SolarSchedule,
)

from jobs import outbox
from jobs.metrics import totals
from jobs.models import BeatLease, Heartbeat, Outgoing, SchedulePolicy, Tick, Timeline, Total
from tests.harness import Installation, RedisServer, eventually
from workers import scheduler as beats
from workers.app import app
from workers.beat import board, firing, lease
from workers.beat.lease import Fenced, Lease
from workers.brokers import connect
from workers.brokers.broker import BrokerUnreachable
from workers.brokers.redis import step_keys
from workers.outbox import Publisher
from workers.scheduler import Scheduler, next_run, problem

NOON = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
YESTERDAY = NOON - timedelta(days=1)


def every(seconds: int) -> dict[str, Any]:
    return {"interval": IntervalSchedule(every=seconds, period=IntervalSchedule.SECONDS)}


def cron(minute: str, hour: str = "*", days: str = "*", zone: str = "UTC") -> dict[str, Any]:
    fields = {"day_of_week": days, "day_of_month": "*", "month_of_year": "*", "timezone": ZoneInfo(zone)}
    return {"crontab": CrontabSchedule(minute=minute, hour=hour, **fields)}


def planned(**fields: Any) -> PeriodicTask:
    """A schedule that never touched the database."""
    return PeriodicTask(**{"name": "s", "task": "t", "enabled": True, "date_changed": YESTERDAY, **fields})


def saved(name: str, when: dict[str, Any], **fields: Any) -> PeriodicTask:
    """A schedule in the database that sends `tests.tasks.add` to the queue `beaten`."""
    for schedule in when.values():
        schedule.save()
    what = {"task": "tests.tasks.add", "queue": "beaten", "args": "[1, 2]"}
    task: PeriodicTask = PeriodicTask.objects.create(name=name, **when, **{**what, **fields})
    return task


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[misc,arg-type]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({**every(60), "last_run_at": NOON - timedelta(seconds=20)}, NOON + timedelta(seconds=40)),
        ({**every(60), "last_run_at": NOON - timedelta(hours=3)}, NOON),
        ({**every(7200), "date_changed": NOON - timedelta(hours=1)}, NOON + timedelta(hours=1)),
        ({**cron("30", "2"), "last_run_at": utc(2026, 11, 21, 2, 30)}, utc(2026, 11, 22, 2, 30)),
        ({**cron("30", "2"), "last_run_at": utc(2026, 11, 20, 2, 30)}, NOON),
        ({**cron("0", "6", "1-5", "America/New_York"), "last_run_at": NOON}, utc(2026, 11, 23, 11, 0)),
        ({"clocked": ClockedSchedule(clocked_time=utc(2026, 12, 1)), "one_off": True}, utc(2026, 12, 1)),
        ({"clocked": ClockedSchedule(clocked_time=YESTERDAY), "one_off": True}, NOON),
        ({**every(60), "start_time": utc(2026, 11, 24)}, utc(2026, 11, 24)),
        ({**cron("30", "2"), "start_time": utc(2026, 11, 24, 9)}, utc(2026, 11, 25, 2, 30)),
    ],
)
def test_the_next_run_is_when_beat_will_send_it(fields: dict[str, Any], expected: datetime) -> None:
    assert next_run(planned(**fields), NOON) == expected


@pytest.mark.parametrize(
    "fields",
    [
        {**every(60), "enabled": False},
        {**every(60), "one_off": True, "total_run_count": 1},
        {**every(60), "expires": NOON},
        {**cron("30", "2"), "last_run_at": NOON, "expires": NOON + timedelta(hours=1)},
        {**cron("30", "25")},
        {},
    ],
)
def test_what_won_t_run_has_no_next_run(fields: dict[str, Any]) -> None:
    assert next_run(planned(**fields), NOON) is None


@pytest.mark.parametrize(
    ("last", "expected"),
    [
        # Clocks go forward on 29 March 2026 at 01:00 UTC and back on 25 October.
        (utc(2026, 3, 27, 2, 0), utc(2026, 3, 28, 2, 0)),
        (utc(2026, 3, 29, 1, 0), utc(2026, 3, 30, 1, 0)),
        (utc(2026, 10, 24, 1, 0), utc(2026, 10, 25, 2, 0)),
    ],
)
def test_daylight_saving_keeps_the_hour_on_the_wall(last: datetime, expected: datetime) -> None:
    task = planned(**cron("0", "3", zone="Europe/Berlin"), last_run_at=last)

    assert next_run(task, last + timedelta(seconds=1)) == expected


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        (cron("61"), "61"),
        (cron("0", "noon"), "noon"),
        (every(0), "zero"),
        ({"interval": IntervalSchedule(every=1, period="fortnights")}, "fortnights"),
        ({"solar": SolarSchedule(event="sunset", latitude=1000, longitude=0)}, "can't be read"),
        ({}, "no interval"),
        ({**every(5), "args": "{}"}, "args is not a JSON list"),
        ({**every(5), "args": "[1,"}, "args is not a JSON list"),
        ({**every(5), "kwargs": "[]"}, "kwargs is not a JSON object"),
        ({**every(5), "headers": "7"}, "headers is not a JSON object"),
    ],
)
def test_a_row_that_beat_can_t_run_says_why(fields: dict[str, Any], says: str) -> None:
    told = problem(planned(**fields))

    assert told is not None
    assert says in told


def test_a_good_row_has_no_problem() -> None:
    assert problem(planned(**cron("*/5", "0-6"), args='["x"]', kwargs='{"y": 1}')) is None


@pytest.fixture
def scheduler(transactional_db: None, redis_url: str) -> Scheduler:
    return Scheduler(app=app)


@pytest.mark.parametrize("expires", [3600, None])
def test_the_clean_up_has_a_schedule_also_where_results_never_expire(
    transactional_db: None, redis_url: str, monkeypatch: pytest.MonkeyPatch, expires: int | None
) -> None:
    monkeypatch.setitem(app.conf, "result_expires", expires)
    assert "celery.backend_cleanup" in reloaded(Scheduler(app=app)).schedule
    schedule = PeriodicTask.objects.get(task="celery.backend_cleanup")
    assert (schedule.enabled, schedule.expire_seconds, schedule.crontab.hour) == (True, 12 * 3600, "4")


def reloaded(scheduler: Scheduler) -> Scheduler:
    """What Beat knows after it has looked at the database."""
    scheduler.tick()
    return scheduler


def waiting() -> int:
    return connect(settings.REDIS_URL).sample(["beaten"])["beaten"].depth


def ticked(scheduler: Scheduler) -> float:
    """Tick until there is nothing more to do at once; how long Beat would sleep then."""
    scheduler._looked = float("-inf")  # as if a second had passed
    return eventually(lambda: scheduler.tick(), 10, "Beat has done what was due")


def sent(count: int) -> None:
    """So many jobs have come to the broker: this process sends them, or what it leaves a monitor would."""
    sweeper = Publisher()

    def arrived() -> bool:
        try:
            return sweeper.publish_due() == 0 and waiting() == count
        except BrokerUnreachable:  # its disk is slow just now
            return False

    eventually(arrived, 15, lambda: f"{waiting()} jobs, not {count}")
    sweeper.close()


def outcomes(task: PeriodicTask) -> list[tuple[str, str]]:
    return list(Tick.objects.filter(schedule=task).order_by("due").values_list("outcome", "reason"))


def test_a_crontab_far_from_this_hour_is_loaded(scheduler: Scheduler) -> None:
    hour = (timezone.now().hour + 12) % 24
    saved("far away", cron("0", str(hour)))

    assert "far away" in reloaded(scheduler).schedule


def test_a_broken_row_stops_no_other_and_is_logged_once(
    scheduler: Scheduler, caplog: pytest.LogCaptureFixture
) -> None:
    saved("good", every(1))
    broken = saved("broken", every(1), last_run_at=timezone.now() - timedelta(seconds=5))
    PeriodicTask.objects.filter(name="broken").update(args="[1,")
    saved("unreadable", cron("61"))
    saved("later", every(3600))

    ticked(scheduler)
    saved("later still", every(3600))
    ticked(scheduler)
    assert {"good", "later", "later still"} <= scheduler.schedule.keys()
    assert "unreadable" not in scheduler.schedule
    said = [record.getMessage() for record in caplog.records if "can't run" in record.getMessage()]
    assert [line for line in said if "'broken'" in line] == [
        "schedule 'broken' can't run: args is not a JSON list"
    ]
    assert len([line for line in said if "'unreadable'" in line and "61" in line]) == 1
    assert set(outcomes(broken)) == {("missed", "faulty")}
    assert PeriodicTask.objects.get(name="broken").enabled


class Nasty(Task[Any, Any]):
    name = "tests.nasty"

    def apply_async(self, *_: Any, **__: Any) -> Any:
        raise RuntimeError("a task of somebody's own")


def test_an_entry_that_raises_is_a_tick_with_its_reason(
    scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(app.tasks, "tests.nasty", Nasty())
    overdue = timezone.now() - timedelta(seconds=70)
    nasty = saved("nasty", every(60), last_run_at=overdue, task="tests.nasty")
    saved("good", every(60), last_run_at=overdue)

    ticked(scheduler)

    sent(1)
    tick = Tick.objects.get(schedule=nasty)
    assert (tick.outcome, tick.reason, tick.detail) == ("missed", "faulty", "a task of somebody's own")


def test_a_row_that_no_commit_takes_stops_no_other(
    scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    overdue = timezone.now() - timedelta(seconds=70)
    bad = saved("bad", every(60), last_run_at=overdue)
    for number in range(3):
        saved(f"good {number}", every(60), last_run_at=overdue)
    put = outbox.put_in_hand

    def refuse(messages: list[Any]) -> Any:
        if any(message.headers["periodic_task_name"] == "bad" for message in messages):
            raise IntegrityError("this value")
        return put(messages)

    monkeypatch.setattr(outbox, "put_in_hand", refuse)
    ticked(scheduler)

    sent(3)
    assert outcomes(bad) == [("missed", "faulty")]
    assert PeriodicTask.objects.get(name="bad").total_run_count == 0


def test_a_run_is_saved_at_once_and_overwrites_no_edit(scheduler: Scheduler) -> None:
    task = saved("often", every(3600), last_run_at=timezone.now() - timedelta(hours=2))
    PeriodicTask.objects.filter(pk=task.pk).update(description="edited meanwhile")

    ticked(scheduler)

    task.refresh_from_db()
    assert (task.total_run_count, task.description) == (1, "edited meanwhile")
    assert task.last_run_at > timezone.now() - timedelta(minutes=1)
    sent(1)
    assert outcomes(task) == [("missed", "later"), ("fired", "")]


@pytest.mark.parametrize(
    "moment", [utc(1, 1, 1), utc(9999, 12, 31, 23, 59, 59)], ids=["the first year", "the last second"]
)
def test_a_time_at_the_end_of_the_calendar_is_refused_and_stops_nothing(
    scheduler: Scheduler, moment: datetime
) -> None:
    task = saved("eternal", {"clocked": ClockedSchedule(clocked_time=moment)}, one_off=True)
    SchedulePolicy.objects.create(schedule=task, jitter=3_600)
    good = saved("good", every(3600), last_run_at=timezone.now() - timedelta(hours=2))
    told = problem(task)
    assert told is not None
    assert "1970" in told
    assert next_run(task, NOON) is None

    ticked(scheduler)

    assert "eternal" not in scheduler.schedule
    assert outcomes(good)[-1] == ("fired", "")


def test_a_lease_is_renewed_while_many_schedules_are_read_and_decided(
    scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        saved(f"late {number}", every(3600), last_run_at=timezone.now() - timedelta(hours=2))
    reloaded(scheduler)
    monkeypatch.setattr(lease, "RENEW_SECONDS", 0.0)
    turn = BeatLease.objects.get().turn
    scheduler.board.forget()
    scheduler.board.read(timezone.now(), scheduler._lease.keep)
    assert BeatLease.objects.get().turn >= turn + 3
    entries = list(scheduler.board.entries.values())
    monkeypatch.setattr(Lease, "_renew", lambda lease: False)
    with pytest.raises(Fenced):
        scheduler._round(entries, timezone.now())


def test_an_entry_of_the_settings_that_makes_no_sense_stops_no_other(
    transactional_db: None, redis_url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Mine(BaseSchedule):
        """Not one of those that have a table."""

    entries = {"bad": {"task": "t", "schedule": Mine()}, "good": {"task": "t", "schedule": 60.0}}
    monkeypatch.setitem(app.conf, "beat_schedule", entries)
    Scheduler(app=app)
    assert set(PeriodicTask.objects.values_list("name", flat=True)) == {"celery.backend_cleanup", "good"}
    assert "'bad'" in caplog.text


def test_beat_writes_down_where_the_jobs_of_a_schedule_go(
    scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    named, routed = saved("named", every(3600)), saved("routed", every(3600), queue=None)
    monkeypatch.setattr(board, "routed", lambda task: f"the queue of {task}")
    ticked(scheduler)
    queues = dict(Timeline.objects.values_list("schedule", "queue"))
    assert (queues[named.pk], queues[routed.pk]) == ("beaten", "the queue of tests.tasks.add")


def test_what_was_switched_off_under_an_older_version_counts_from_now_on(scheduler: Scheduler) -> None:
    task = saved("often", every(60), total_run_count=7)
    PeriodicTask.objects.filter(pk=task.pk).update(date_changed=timezone.now() - timedelta(days=7))
    ticked(scheduler)
    assert outcomes(task) == []


def test_another_crontab_row_counts_from_when_beat_last_looked(scheduler: Scheduler) -> None:
    yearly, now = cron("0", "0"), timezone.now()
    yearly["crontab"].month_of_year = str((now - timedelta(days=60)).month)
    yearly["crontab"].day_of_month = "1"
    task = saved("shared", yearly)
    PeriodicTask.objects.filter(pk=task.pk).update(date_changed=now - timedelta(days=30))
    ticked(scheduler)
    CrontabSchedule.objects.update(minute="*", hour="*", day_of_month="*", month_of_year="*")
    PeriodicTasks.update_changed()
    ticked(scheduler)
    assert Timeline.objects.get(schedule=task).rhythm.startswith("cron * * * * *")
    assert all(due > now for due in Tick.objects.filter(schedule=task).values_list("due", flat=True))


def test_a_job_that_waits_is_let_go_however_many_wait_for_others(
    scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(beats, "MOST_HELD", 1)
    busy, free = saved("busy", every(3600)), saved("free", every(3600))
    reloaded(scheduler)
    long_ago = timezone.now() - timedelta(minutes=9)
    for task, known_at in ((busy, long_ago), (free, long_ago + timedelta(minutes=1))):
        Tick.objects.create(schedule=task, due=known_at, outcome="held", known_at=known_at)
    monkeypatch.setattr(beats, "running_jobs", lambda schedules, now: {busy.pk: "a"})
    for _ in range(2):
        ticked(scheduler)
    assert outcomes(free) == [("fired", "waited")]
    assert outcomes(busy) == [("held", "")]


def test_what_became_of_ticks_is_counted(scheduler: Scheduler) -> None:
    saved("often", every(3600), last_run_at=timezone.now() - timedelta(hours=2))
    for _ in range(2):
        ticked(scheduler)
    counted = Total.objects.filter(name=totals.TICKS).order_by("label").values_list("label", "count")
    assert list(counted) == [("fired", 1), ("missed", 1)]


def test_a_stale_save_of_the_row_makes_no_job_run_twice(scheduler: Scheduler) -> None:
    task = saved("often", every(3600), last_run_at=timezone.now() - timedelta(hours=2))
    stale = PeriodicTask.objects.get(pk=task.pk)
    ticked(scheduler)
    stale.description = "as the admin's form saves it"
    stale.save()
    assert PeriodicTask.objects.get(pk=task.pk).total_run_count == 0

    ticked(scheduler)
    ticked(Scheduler(app=app))  # another Beat knows no more than the tables

    sent(1)
    assert outcomes(task) == [("missed", "later"), ("fired", "")]


@pytest.mark.parametrize("step", ["put_in_hand", "bulk_create", "_count"])
def test_an_unwritable_database_makes_no_job_run_twice(
    scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    task = saved("often", every(3600), last_run_at=timezone.now() - timedelta(hours=2))
    where = {"put_in_hand": outbox, "bulk_create": Tick.objects, "_count": firing}[step]

    with monkeypatch.context() as patch:
        patch.setattr(where, step, _raise(OperationalError("database is locked")))
        ticked(scheduler)
        saved("another", every(3600))  # makes Beat read the rows again
        ticked(scheduler)
        assert PeriodicTask.objects.get(name="often").total_run_count == 0
        assert not Outgoing.objects.exists()

    ticked(scheduler)
    ticked(scheduler)
    assert PeriodicTask.objects.get(name="often").total_run_count == 1
    sent(1)
    assert outcomes(task) == [("missed", "later"), ("fired", "")]


def test_an_unreadable_database_leaves_beat_what_it_knows(
    scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved("often", every(3600), last_run_at=timezone.now() - timedelta(hours=2))
    with monkeypatch.context() as patch:
        patch.setattr(board, "_enabled", _raise(OperationalError("no such file")))
        assert ticked(scheduler) > 0
        assert waiting() == 0

    ticked(scheduler)
    sent(1)


def test_a_broker_that_is_away_delays_a_run_and_loses_none(
    scheduler: Scheduler, redis_server: RedisServer
) -> None:
    overdue = timezone.now() - timedelta(hours=2)
    saved("first", every(3600), last_run_at=overdue)
    ticked(scheduler)
    sent(1)
    second = saved("second", every(3600), last_run_at=overdue)

    redis_server.kill()
    try:
        assert ticked(scheduler) > 0
        assert ticked(scheduler) > 0
        assert outcomes(second) == [("missed", "later"), ("fired", "")]
    finally:
        redis_server.start()

    Outgoing.objects.update(claimed_until=None)  # as if the claim of this process had run out
    eventually(lambda: Publisher().publish_due() == 0, 15, "the outbox is empty")
    sent(2)
    ticked(scheduler)
    assert PeriodicTask.objects.get(name="second").total_run_count == 1


def test_what_was_due_while_switched_off_is_not_missed(scheduler: Scheduler) -> None:
    task = saved("often", every(60), last_run_at=timezone.now() - timedelta(hours=1))
    ticked(scheduler)
    before = outcomes(task)
    PeriodicTask.objects.filter(pk=task.pk).update(enabled=False)
    PeriodicTasks.update_changed()
    ticked(scheduler)
    assert Timeline.objects.get(schedule=task).next_at is None
    Timeline.objects.filter(schedule=task).update(decided_until=timezone.now() - timedelta(minutes=30))
    PeriodicTask.objects.filter(pk=task.pk).update(enabled=True)
    PeriodicTasks.update_changed()
    ticked(scheduler)
    assert outcomes(task) == before
    following = Timeline.objects.get(schedule=task).next_at
    assert following is not None
    assert following > timezone.now()


def test_another_rhythm_counts_from_the_edit_on(scheduler: Scheduler) -> None:
    task = saved("often", every(3600))
    ticked(scheduler)
    Timeline.objects.update(decided_until=timezone.now() - timedelta(minutes=50))
    scheduler.board.forget()
    interval = IntervalSchedule.objects.create(every=10, period="seconds")
    task.interval = interval
    task.save()
    ticked(scheduler)
    assert outcomes(task) == []
    following = Timeline.objects.get(schedule=task).next_at
    assert following is not None
    assert timedelta(0) < following - timezone.now() <= timedelta(seconds=10)


def test_a_one_off_is_sent_once_and_switched_off(scheduler: Scheduler) -> None:
    at = timezone.now() - timedelta(seconds=5)
    task = saved("once", {"clocked": ClockedSchedule(clocked_time=at)}, one_off=True)
    for _ in range(3):
        ticked(scheduler)
    sent(1)
    task.refresh_from_db()
    assert (task.enabled, outcomes(task)) == (False, [("fired", "")])
    PeriodicTask.objects.filter(pk=task.pk).update(enabled=True)
    PeriodicTasks.update_changed()
    ticked(scheduler)
    assert outcomes(task) == [("fired", "")]


def test_beat_says_that_it_lives(scheduler: Scheduler) -> None:
    saved("one", every(3600))

    ticked(scheduler)

    heartbeat = Heartbeat.objects.get(name="beat")
    assert heartbeat.at > timezone.now() - timedelta(minutes=1)
    assert json.loads(heartbeat.detail) == {"schedules": 2, "unreadable": 0}  # Celery's own clean-up is one


def test_an_edit_takes_effect_while_beat_runs(installation: Installation, redis_server: RedisServer) -> None:
    beat = installation.beat()
    eventually(lambda: Heartbeat.objects.filter(name="beat").exists(), 30, beat.text)

    saved("new", every(1), headers='{"release": "9f3c1e2"}')
    eventually(lambda: waiting() > 1, 15, beat.text)
    message = redis_server.client().lindex(step_keys("beaten")[4], -1)  # the list of priority 5
    assert message is not None
    assert json.loads(message)["headers"]["periodic_task_name"] == "new"

    task = PeriodicTask.objects.get(name="new")
    task.enabled = False
    task.save(update_fields=["enabled"])  # Beat counts in the same row meanwhile
    eventually(lambda: known_to_beat() == 1, 15, beat.text)
    assert PeriodicTask.objects.get(name="new").total_run_count == waiting()

    assert beat.stop() == 0


def known_to_beat() -> int:
    """How many schedules Beat has in mind, as its heartbeat tells."""
    return int(json.loads(Heartbeat.objects.get(name="beat").detail)["schedules"])


def _raise(error: Exception) -> Callable[..., Any]:
    def fail(*_: Any, **__: Any) -> Any:
        raise error

    return fail
