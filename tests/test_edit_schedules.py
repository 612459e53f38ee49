"""What people do to schedules: through pages and commands, each effect in the tables that Beat reads."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone
from django_celery_beat.models import (
    ClockedSchedule,
    CrontabSchedule,
    IntervalSchedule,
    PeriodicTask,
    PeriodicTasks,
)

from jobs.models import Action, Outgoing, SchedulePolicy, Tick, Timeline
from jobs.perform import Actor, perform
from jobs.ticks.plans import rhythm_text
from workers.app import app
from workers.commands.schedules import (
    Backfill,
    DisableSchedule,
    EditSchedule,
    EnableSchedule,
    PauseSchedule,
    ResumeSchedule,
    RunSchedule,
    SkipNext,
)
from workers.scheduler import Scheduler

pytestmark = pytest.mark.django_db
NOON = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


@pytest.fixture
def nightly() -> CrontabSchedule:
    return CrontabSchedule.objects.create(minute="30", hour="2", timezone="Europe/Paris")


@pytest.fixture
def schedule(nightly: CrontabSchedule) -> PeriodicTask:
    return PeriodicTask.objects.create(
        name="report", task="tests.tasks.add", args="[1, 2]", queue="low", crontab=nightly
    )


@pytest.fixture
def neighbour(nightly: CrontabSchedule) -> PeriodicTask:
    return PeriodicTask.objects.create(
        name="other", task="tests.tasks.add", args="[1, 2]", queue="low", crontab=nightly
    )


@pytest.fixture
def ana(ops: User) -> Actor:
    return Actor(ops, "page")


def done(action: Action) -> Any:
    assert action.refusal is None, action.detail
    return orjson.loads(action.after or "null")


def test_a_changed_crontab_changes_no_schedule_that_shares_it(
    schedule: PeriodicTask, neighbour: PeriodicTask, ana: Actor
) -> None:
    mark = PeriodicTasks.last_change()
    action = perform(ana, EditSchedule(schedule.pk, cron="0 6 * * 1-5"))
    after = done(action)
    assert after["when"] == "cron 0 6 * * 1-5 Europe/Paris"
    assert orjson.loads(action.before or "")["when"] == "cron 30 2 * * * Europe/Paris"
    for row in (schedule, neighbour):
        row.refresh_from_db()
    assert (str(schedule.crontab.hour), str(neighbour.crontab.hour)) == ("6", "2")
    assert PeriodicTasks.last_change() > mark


def test_an_edit_is_what_the_next_look_of_beat_takes_up(
    schedule: PeriodicTask, ana: Actor, redis_url: str
) -> None:
    beat = Scheduler(app=app)
    beat.work(timezone.now())
    done(perform(ana, EditSchedule(schedule.pk, every=10, overlap="skip", jitter=2.0, owner="ana")))
    beat._looked = float("-inf")
    beat.work(timezone.now())
    plan = beat.board.entries[schedule.pk].plan
    assert (plan.overlap, plan.jitter) == ("skip", 2.0)
    assert Timeline.objects.get(schedule=schedule).rhythm == "every 10 seconds"


@pytest.mark.parametrize(
    "wish",
    [
        {"cron": "0 0 1--100000000 * *"},
        {"cron": "1-100000000 * * * *"},
        {"cron": "*/0 * * * *"},
        {"cron": "* * * *"},
        {"cron": "0 0 30 2 *"},
        {"cron": "0," * 200 + "0 * * * *"},
        {"zone": "Mars/Olympus"},
        {"every": 0},
        {"every": 10**12},
        {"every": 5, "cron": "* * * * *"},
        {"overlap": "sometimes"},
        {"catch_up": "never"},
        {"jitter": -1.0},
        {"jitter": 1e9},
        {"note": "x" * 501},
    ],
)
def test_what_makes_no_sense_is_refused_and_changes_nothing(
    schedule: PeriodicTask, ana: Actor, wish: dict[str, Any]
) -> None:
    action = perform(ana, EditSchedule(schedule.pk, **wish))
    assert action.refusal == "arguments"
    assert action.detail
    schedule.refresh_from_db()
    assert rhythm_text(schedule) == "cron 30 2 * * * Europe/Paris"
    assert not SchedulePolicy.objects.exists()


def test_a_schedule_is_switched_off_and_on(schedule: PeriodicTask, ana: Actor) -> None:
    assert perform(ana, EnableSchedule(schedule.pk)).refusal == "so"
    assert done(perform(ana, DisableSchedule(schedule.pk))) == {"enabled": False}
    assert not PeriodicTask.objects.get(pk=schedule.pk).enabled
    assert done(perform(ana, EnableSchedule(schedule.pk))) == {"enabled": True}


def test_a_pause_ends_by_itself_or_is_ended(schedule: PeriodicTask, ana: Actor) -> None:
    assert perform(ana, ResumeSchedule(schedule.pk)).refusal == "not_paused"
    assert perform(ana, PauseSchedule(schedule.pk)).refusal == "until"
    assert perform(ana, PauseSchedule(schedule.pk, until=timezone.now())).refusal == "until"
    done(perform(ana, PauseSchedule(schedule.pk, lasts=3600.0)))
    policy = SchedulePolicy.objects.get()
    assert policy.paused_until is not None
    assert (policy.paused_by, policy.paused_until > timezone.now()) == ("ops", True)
    done(perform(ana, ResumeSchedule(schedule.pk)))
    ended = SchedulePolicy.objects.get().paused_until
    assert ended is not None
    assert ended <= timezone.now()


def test_the_next_tick_is_left_out_and_no_other(schedule: PeriodicTask, ana: Actor) -> None:
    done(perform(ana, SkipNext(schedule.pk)))
    due = SchedulePolicy.objects.get().skip_due
    assert due is not None
    assert timezone.now() < due <= timezone.now() + timedelta(days=1, hours=1)
    done(perform(ana, DisableSchedule(schedule.pk)))
    assert perform(ana, SkipNext(schedule.pk)).refusal == "never"


def test_a_job_is_sent_now_beside_the_ticks(schedule: PeriodicTask, ana: Actor) -> None:
    task_id = done(perform(ana, RunSchedule(schedule.pk)))["task_id"]
    row = Outgoing.objects.get()
    assert (row.task_id, row.queue, row.task) == (task_id, "low", "tests.tasks.add")
    assert orjson.loads(row.headers)["periodic_task_name"] == "report"
    assert not Tick.objects.exists()


def decided(schedule: PeriodicTask, until: datetime) -> None:
    Timeline.objects.create(schedule=schedule, rhythm=rhythm_text(schedule), decided_until=until)


def test_a_backfill_sends_what_was_not_sent_once_its_count_is_confirmed(
    schedule: PeriodicTask, ana: Actor
) -> None:
    schedule.crontab, schedule.interval = (
        None,
        IntervalSchedule.objects.create(every=1, period="hours"),
    )
    schedule.save()
    decided(schedule, NOON)
    outcomes = {1: "fired", 2: "missed", 3: "paused"}
    for hours, outcome in outcomes.items():
        due = NOON - timedelta(hours=hours)
        Tick.objects.create(schedule=schedule, due=due, outcome=outcome, known_at=NOON)
    span = {"begin": NOON - timedelta(hours=5), "end": NOON + timedelta(hours=5)}
    refused = perform(ana, Backfill(schedule.pk, **span, confirm=6))
    assert (refused.refusal, "5" in refused.detail) == ("confirm", True)
    assert not Outgoing.objects.exists()
    assert done(perform(ana, Backfill(schedule.pk, **span, confirm=5))) == {"sent": 5}
    assert Outgoing.objects.count() == 5
    ticks = Tick.objects.filter(schedule=schedule).order_by("due")
    assert {tick.outcome for tick in ticks} == {"fired"}
    assert [tick.reason for tick in ticks] == ["backfilled"] * 4 + ["", "backfilled"]
    again = perform(ana, Backfill(schedule.pk, **span, confirm=5))
    assert (again.refusal, Outgoing.objects.count()) == ("confirm", 5)


def test_the_page_of_a_schedule_shows_its_ticks_and_its_next_ones(
    visitor: Client, schedule: PeriodicTask
) -> None:
    decided(schedule, timezone.now())
    due = timezone.now() - timedelta(days=1)
    Tick.objects.create(schedule=schedule, due=due, outcome="missed", reason="away", known_at=timezone.now())
    answer = visitor.get(f"/schedules/{schedule.pk}/")
    page = answer.content.decode()
    assert len(answer.context["coming"]) == 10
    assert "Nobody was there to send it" in page
    assert "1 missed" in page
    assert "missed" in visitor.get("/schedules/").content.decode()
    assert visitor.get("/schedules/999999/").status_code == 404


def test_next_ticks_tell_where_clocks_change(visitor: Client, schedule: PeriodicTask) -> None:
    from dashboard.schedule_pages import coming
    from jobs.ticks.plans import plan_of

    dues = coming(plan_of(schedule, NOON), datetime(2026, 10, 22, 12, tzinfo=UTC), 5)
    assert [each.shift for each in dues] == [0, 0, 0, -60, 0]
    assert [each.due.day for each in dues] == [23, 24, 25, 26, 27]


def form(**changed: str) -> dict[str, str]:
    usual = {"cron": "30 2 * * *", "zone": "Europe/Paris", "every": "", "overlap": "allow"}
    return {**usual, "catch_up": "once", "jitter": "0", "owner": "", "note": "", **changed}


def test_the_form_shows_what_would_come_before_it_changes_anything(
    visitor: Client, schedule: PeriodicTask, neighbour: PeriodicTask
) -> None:
    address = f"/schedules/{schedule.pk}/edit/"
    shown = visitor.post(address, form(cron="0 6 * * *", preview="1"))
    assert shown.status_code == 200
    assert {each.local.hour for each in shown.context["will"]} == {6}
    assert len(shown.context["would_have"]) == 5
    assert not Action.objects.exists()
    bomb = visitor.post(address, form(cron="1--100000000 * * * *", once="a-form-of-mine"))
    assert (bomb.status_code, 'role="alert"' in bomb.content.decode()) == (400, True)
    assert not Action.objects.exists()
    assert visitor.post(address, form(cron="0 6 * * *", once="a-form-of-mine")).status_code == 302
    schedule.refresh_from_db()
    neighbour.refresh_from_db()
    assert (schedule.crontab.hour, neighbour.crontab.hour) == ("6", "2")
    page = visitor.get(f"/schedules/{schedule.pk}/").content.decode()
    assert "schedule.edit" in page
    assert "cron 0 6 * * * Europe/Paris" in page


def test_a_backfill_is_counted_before_it_is_asked_for(visitor: Client, schedule: PeriodicTask) -> None:
    decided(schedule, NOON)
    address = f"/schedules/{schedule.pk}/backfill/"
    span = {"begin": "2026-11-18T00:00", "end": "2026-11-21T00:00"}
    counted = visitor.get(address, span)
    assert (counted.context["total"], Action.objects.count()) == (3, 0)
    sent = visitor.post(address, {**span, "confirm": "3", "once": "a-form-of-mine"})
    assert (sent.status_code, Outgoing.objects.count()) == (302, 3)


def test_hostile_names_are_text_on_each_page(visitor: Client, nightly: CrontabSchedule) -> None:
    evil = '"><script>alert(1)</script>'
    row = PeriodicTask.objects.create(name=evil, task=evil, crontab=nightly, args='["<b>"]')
    Tick.objects.create(schedule=row, due=NOON, outcome="missed", reason="faulty", detail=evil, known_at=NOON)
    for page in ("", "edit/", "pause/", "backfill/"):
        markup = visitor.get(f"/schedules/{row.pk}/{page}").content.decode()
        assert "<script>alert" not in markup
        assert "&lt;script&gt;" in markup


def test_the_tick_that_is_left_out_is_the_next_that_is_sent_also_with_jitter(
    visitor: Client, schedule: PeriodicTask, ana: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobs.ticks.deciding.zlib.crc32", lambda text: 2**32 - 1)
    schedule.interval, schedule.crontab = IntervalSchedule.objects.create(every=3600, period="seconds"), None
    schedule.start_time = timezone.now() - timedelta(seconds=3605)
    schedule.save()
    SchedulePolicy.objects.create(schedule=schedule, jitter=60.0)
    decided(schedule, timezone.now() - timedelta(seconds=60))
    shown = visitor.get(f"/schedules/{schedule.pk}/").context["coming"][0].due
    done(perform(ana, SkipNext(schedule.pk)))
    # It was due five seconds ago, and is sent within a minute.
    assert SchedulePolicy.objects.get().skip_due == shown == schedule.start_time + timedelta(seconds=3600)


@pytest.mark.parametrize("when", ["0001-01-01T00:00", "9999-12-31T23:59"])
def test_a_time_at_the_end_of_the_calendar_breaks_no_page(visitor: Client, when: str) -> None:
    clocked = ClockedSchedule.objects.create(clocked_time=datetime.fromisoformat(when).replace(tzinfo=UTC))
    row = PeriodicTask.objects.create(name="eternal", task="t", clocked=clocked, one_off=True)
    SchedulePolicy.objects.create(schedule=row, jitter=3_600.0)
    for page in ("", f"{row.pk}/", f"{row.pk}/edit/", f"{row.pk}/backfill/"):
        assert visitor.get(f"/schedules/{page}").status_code == 200


def test_an_interval_of_ages_breaks_no_page(visitor: Client, schedule: PeriodicTask) -> None:
    ages = IntervalSchedule.objects.create(every=2**31 - 1, period="days")
    schedule.interval, schedule.crontab = ages, None
    schedule.save()
    for page in ("", f"{schedule.pk}/", f"{schedule.pk}/edit/"):
        assert visitor.get(f"/schedules/{page}").status_code == 200


def test_a_span_of_ages_is_not_walked(visitor: Client, schedule: PeriodicTask, ana: Actor) -> None:
    schedule.interval, schedule.crontab = IntervalSchedule.objects.create(every=1, period="seconds"), None
    schedule.save()
    decided(schedule, NOON)
    address, end = f"/schedules/{schedule.pk}/backfill/", "2026-11-21T12:00"
    for begin, says in (("0001-01-01T00:00", "1970"), ("1990-01-01T00:00", "20000 ticks")):
        answer = visitor.get(address, {"begin": begin, "end": end})
        assert (answer.status_code, says in answer.content.decode()) == (200, True)
        refused = perform(ana, Backfill(schedule.pk, datetime.fromisoformat(begin), NOON, confirm=1))
        assert refused.refusal == "unreadable"


def test_what_a_schedule_carries_is_shown_without_secrets(visitor: Client, schedule: PeriodicTask) -> None:
    kwargs = {"password": "hunter2", "city": "Utrecht"}
    PeriodicTask.objects.update(args="[1, broken hunter3", kwargs=orjson.dumps(kwargs).decode())
    page = visitor.get(f"/schedules/{schedule.pk}/").content.decode()
    assert "Utrecht" in page
    assert "hunter2" not in page
    assert "hunter3" not in page


def test_a_backfill_takes_ticks_out_of_a_row_that_stands_for_many(schedule: PeriodicTask, ana: Actor) -> None:
    schedule.interval, schedule.crontab = IntervalSchedule.objects.create(every=1, period="hours"), None
    schedule.start_time = NOON - timedelta(days=30)
    schedule.save()
    decided(schedule, NOON)
    dues = [NOON - timedelta(hours=hours) for hours in (4, 3, 2, 1)]
    many = {"outcome": "missed", "known_at": NOON, "due": dues[0], "until": dues[-1], "count": 4}
    Tick.objects.create(schedule=schedule, **many)

    def sent(begin: datetime, end: datetime, count: int) -> None:
        assert done(perform(ana, Backfill(schedule.pk, begin, end, confirm=count))) == {"sent": count}

    sent(dues[0], dues[0], 1)
    assert Tick.objects.get(outcome="missed").count == 3
    assert Tick.objects.get(outcome="fired").due == dues[0]
    sent(dues[1], dues[-1], 3)
    rows = Tick.objects.order_by("due").values_list("due", "outcome", "count", "until")
    assert list(rows) == [(due, "fired", 1, None) for due in dues]
