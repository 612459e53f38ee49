"""The list of schedules: last and next run, the worst first."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from django_celery_beat.models import CrontabSchedule, IntervalSchedule, PeriodicTask

from jobs.models import Heartbeat


def every(seconds: int, name: str, **facts: Any) -> PeriodicTask:
    rhythm, _ = IntervalSchedule.objects.get_or_create(every=seconds, period=IntervalSchedule.SECONDS)
    return PeriodicTask.objects.create(name=name, task="shop.tasks.sync", interval=rhythm, **facts)


def test_a_schedule_shows_its_last_and_its_next_run(visitor: Client) -> None:
    last = timezone.now() - timedelta(seconds=20)
    every(60, "sync", last_run_at=last)
    (schedule,) = visitor.get("/schedules/").context["schedules"]
    assert schedule.last == last
    assert abs(schedule.next - last - timedelta(seconds=60)) < timedelta(seconds=1)
    assert (schedule.name, schedule.task, schedule.problem) == ("sync", "shop.tasks.sync", None)


def test_what_should_have_been_sent_already_is_due(visitor: Client) -> None:
    every(60, "sync", last_run_at=timezone.now() - timedelta(seconds=90))
    every(60, "later", last_run_at=timezone.now())
    response = visitor.get("/schedules/")
    assert [schedule.overdue for schedule in response.context["schedules"]] == [True, False]
    markup = response.content.decode()
    assert ('<span class="two">due</span>' in markup, markup.count('data-due="due"')) == (True, 1)


def test_a_crontab_shows_its_expression_and_its_zone(visitor: Client) -> None:
    nightly = CrontabSchedule.objects.create(minute="30", hour="2", timezone="Europe/Amsterdam")
    PeriodicTask.objects.create(name="nightly", task="t", crontab=nightly)
    (schedule,) = visitor.get("/schedules/").context["schedules"]
    assert (schedule.expression, schedule.zone) == ("30 2 * * *", "Europe/Amsterdam")
    assert "02:30" in schedule.words


def test_the_worst_comes_first_and_what_is_off_last(visitor: Client) -> None:
    every(60, "later", last_run_at=timezone.now())
    every(5, "soon", last_run_at=timezone.now())
    every(5, "off", enabled=False)
    every(60, "broken", args="not json")
    schedules = visitor.get("/schedules/").context["schedules"]
    assert [schedule.name for schedule in schedules] == ["broken", "soon", "later", "off"]
    assert schedules[0].problem is not None
    assert (schedules[0].next, schedules[3].next) == (None, None)


def test_beat_is_shown_as_it_was_last_heard(visitor: Client) -> None:
    assert visitor.get("/schedules/").context["beat"] == {"state": "never", "seen": None}
    at = timezone.now() - timedelta(seconds=20)
    Heartbeat.objects.create(name="beat", at=at, host="h", pid=1)
    assert visitor.get("/schedules/").context["beat"] == {"state": "late", "seen": at.timestamp()}


def test_words_are_found_for_those_that_are_shown_alone(
    visitor: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[CrontabSchedule] = []

    def words(crontab: CrontabSchedule) -> str:
        asked.append(crontab)
        return "At night"

    monkeypatch.setattr(CrontabSchedule, "human_readable", property(words))
    nightly = CrontabSchedule.objects.create(minute="30", hour="2")
    for number in range(105):
        PeriodicTask.objects.create(name=f"s{number:03}", task="t", crontab=nightly)
    second = visitor.get("/schedules/?page=2").context
    names = [schedule.name for schedule in second["schedules"]]
    assert names == [f"s{number:03}" for number in range(100, 105)]
    assert (second["count"], second["more"], len(asked)) == (105, False, 5)


def test_a_hundred_schedules_cost_as_many_statements_as_one(
    visitor: Client, django_assert_max_num_queries: Any
) -> None:
    for number in range(100):
        every(60 + number, f"s{number}")
    with django_assert_max_num_queries(10):
        assert len(visitor.get("/schedules/").context["schedules"]) == 100
