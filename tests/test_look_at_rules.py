"""A look at all rules: what it reads, what it makes of rules that can't be read, and what it costs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django_celery_beat.models import IntervalSchedule, PeriodicTask

from jobs.alerts.facts import errors
from jobs.alerts.facts.look import Facts, Memory
from jobs.alerts.facts.schedules import read_overdue
from jobs.alerts.looking import Asked, findings
from jobs.alerts.rounds import look
from jobs.models import (
    Alert,
    Bucket,
    Cluster,
    DeadLetter,
    Heartbeat,
    Job,
    Pause,
    Position,
    QueueSample,
    Rule,
    SeenError,
    Standing,
    Tick,
    Timeline,
    Worker,
)
from jobs.models.alerts import Kind
from tests.seed import seed
from workers.monitor.alerts import Alerting

pytestmark = pytest.mark.django_db
CLUSTER = Cluster.DEFAULT_ID
NOW = datetime.now(UTC)
# A look of fourteen rules over a record in which nothing is wrong.
MOST_STATEMENTS = 45


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


@pytest.fixture
def alone() -> None:
    """No rules, and a monitor that sees."""
    Rule.objects.all().delete()
    sees()


def sees(lag: float = 0.1) -> None:
    for name, detail in (("monitor", f'{{"leading": true, "lag": {lag}}}'), ("broker", '{"ok": true}')):
        Heartbeat.objects.update_or_create(
            name=name, defaults={"at": NOW, "host": "h", "pid": 1, "detail": detail}
        )
    Position.objects.update_or_create(source="s", defaults={"committed_at": NOW, "lag": lag})


def rule(kind: Kind, name: str = "", **fields: object) -> Rule:
    return Rule.objects.create(name=name or kind.value, kind=kind, **fields)


def waits(queue: str, depth: int = 3, seconds: float = 20, at: datetime = NOW) -> None:
    QueueSample.objects.create(
        queue=queue, at=at, depth=depth, oldest_at=at - timedelta(seconds=seconds) if depth else None
    )


def found(kind: Kind, **params: float | str) -> dict[str, bool | None] | None:
    asked = Asked.by(Rule(name="x", kind=kind, params=params, created_at=ago(3600)))
    result = findings(asked, Facts(CLUSTER, NOW, Memory()))
    return None if result is None else {finding.key: finding.holds for finding in result}


def failed(task: str, exception: str, at: datetime) -> None:
    job = Job.objects.create(
        task_id=f"{task}-{Job.objects.count()}",
        task=task,
        queue="low",
        state="failed",
        exception=exception,
        ended_at=at,
        seen_at=at,
    )
    Standing.objects.create(job=job, state="failed", task=task, queue="low")
    bucket, _ = Bucket.objects.get_or_create(tier=60, start=int(at.timestamp() // 60), task=task, queue="low")
    Bucket.objects.filter(pk=bucket.pk).update(failed=bucket.failed + 1)


def test_a_look_costs_the_same_whatever_there_is_and_finds_nothing_in_a_calm_night() -> None:
    seed(NOW, jobs=40)
    memory = Memory()
    look(CLUSTER, NOW, memory)
    Alert.objects.all().delete()
    with CaptureQueriesContext(connection) as asked:
        look(CLUSTER, NOW, memory)
    assert len(asked) <= MOST_STATEMENTS, [query["sql"][:80] for query in asked]


def test_a_rule_that_cannot_be_read_says_so_and_stops_no_other(alone: None) -> None:
    broken = rule(Kind.DEPTH, params={"moor": 1})
    rule(Kind.NO_CONSUMER)
    waits("mail")
    assert look(CLUSTER, NOW, Memory())
    broken.refresh_from_db()
    assert "no parameter 'moor'" in broken.fault
    assert Alert.objects.get().key == "mail"
    Rule.objects.filter(pk=broken.pk).update(params={})
    look(CLUSTER, NOW, Memory())
    broken.refresh_from_db()
    assert broken.fault == ""


def test_a_rule_that_is_switched_off_is_not_looked_at_and_ends_what_it_found(alone: None) -> None:
    nobody = rule(Kind.NO_CONSUMER)
    waits("mail")
    look(CLUSTER, NOW, Memory())
    Rule.objects.filter(pk=nobody.pk).update(enabled=False)
    assert look(CLUSTER, NOW, Memory())
    assert Alert.objects.get().state == "resolved"
    assert not look(CLUSTER, NOW, Memory())


def test_while_the_record_is_behind_nothing_fires_but_that(alone: None) -> None:
    sees(lag=60.0)
    for kind in (Kind.NO_CONSUMER, Kind.NO_SUCCESS, Kind.STREAM):
        rule(kind)
    waits("mail")
    look(CLUSTER, NOW, Memory())
    assert list(Alert.objects.values_list("key", flat=True)) == ["lag"]


def test_a_queue_that_somebody_paused_or_reads_has_a_consumer(alone: None) -> None:
    waits("paused")
    waits("read")
    waits("left")
    Pause.objects.create(queue="paused", who="ana", since=NOW)
    Worker.objects.create(producer="p", name="w@h", queues="read", slots=2, busy=1, seen_at=NOW, freq=2.0)
    assert found(Kind.NO_CONSUMER) == {"left": True, "read": False}
    Worker.objects.create(producer="q", name="x@h", queues=None, seen_at=NOW, freq=2.0)
    assert found(Kind.NO_CONSUMER) == {"left": False, "read": False}, "one that tells nothing may read any"


def test_a_queue_is_stalled_only_after_it_was_never_empty_for_the_whole_time(alone: None) -> None:
    Worker.objects.create(producer="p", name="w@h", queues="a,b", slots=2, busy=0, seen_at=NOW, freq=2.0)
    for seconds in range(0, 85, 5):
        waits("a", at=ago(seconds))
        waits("b", depth=0 if seconds == 30 else 3, at=ago(seconds))
    assert found(Kind.STALLED, seconds=60) == {"a": True, "b": False}
    started = Bucket(tier=60, start=int(NOW.timestamp() // 60), task="t", queue="a", started=1)
    started.save()
    assert found(Kind.STALLED, seconds=60) == {"a": False, "b": False}


def test_what_waits_of_old_samples_is_not_told(alone: None) -> None:
    waits("mail", at=ago(60))
    assert found(Kind.NO_CONSUMER) == {}


def test_a_new_error_is_learned_once_and_by_its_type(alone: None) -> None:
    failed("shop.sync", "KeyError: 'a'", ago(30))
    failed("shop.sync", "KeyError: 'b'", ago(20))
    failed("shop.sync", "ValueError('x')", ago(10))
    assert found(Kind.NEW_ERROR) == {"shop.sync: KeyError": True, "shop.sync: ValueError": True}
    assert SeenError.objects.count() == 2
    SeenError.objects.update(first_at=ago(7200))
    assert found(Kind.NEW_ERROR) == {"shop.sync: KeyError": False, "shop.sync: ValueError": False}


def test_an_error_is_learned_though_its_task_failed_as_often_hours_before(alone: None) -> None:
    memory = errors.Memory()
    failed("shop.sync", "KeyError: 'a'", ago(7200))
    errors.learn(CLUSTER, ago(7190), memory)
    errors.learn(CLUSTER, ago(3600), memory)
    failed("shop.sync", "ValueError('x')", ago(10))
    errors.learn(CLUSTER, NOW, memory)
    assert set(SeenError.objects.values_list("exception", flat=True)) == {"KeyError", "ValueError"}


def test_however_many_tasks_fail_all_the_time_each_has_its_turn(
    alone: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(errors, "MOST_TASKS", 2)
    memory, tasks = errors.Memory(), ["a", "b", "c", "d", "e"]
    for _ in range(3):
        for task in tasks:
            failed(task, "KeyError: 'a'", NOW)
        errors.learn(CLUSTER, NOW, memory)
    assert sorted(SeenError.objects.values_list("task", flat=True)) == tasks


def test_names_that_a_task_makes_up_without_end_become_one(
    alone: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(errors, "ERRORS_OF_A_TASK", 2)
    memory = errors.Memory()
    for number in range(5):
        failed("shop.sync", f"Error{number}: x", NOW)
        errors.learn(CLUSTER, NOW, memory)
    assert set(SeenError.objects.values_list("exception", flat=True)) == {"Error0", "Error1", "?"}


def test_errors_from_before_the_rule_are_not_new(alone: None) -> None:
    failed("shop.sync", "KeyError: 'a'", ago(30))
    made = rule(Kind.NEW_ERROR, created_at=ago(10))
    look(CLUSTER, NOW, Memory())
    assert not Alert.objects.filter(rule=made).exists()


def test_a_dead_worker_is_told_of_as_long_as_its_jobs_are_in_nobody_elses_hands(alone: None) -> None:
    Worker.objects.create(producer="p", name="w@h", queues="low", seen_at=ago(60), freq=2.0)
    job = Job.objects.create(task_id="a", task="t", queue="low", state="running", worker="w@h", seen_at=NOW)
    Standing.objects.create(job=job, state="running", task="t", queue="low")
    assert found(Kind.WORKER_DEAD) == {"w@h": True}
    Job.objects.update(worker="other@h")
    assert found(Kind.WORKER_DEAD) == {"w@h": False}


def scheduled(name: str, next_at: datetime | None, **fields: Any) -> PeriodicTask:
    every = IntervalSchedule.objects.get_or_create(every=60, period=IntervalSchedule.SECONDS)[0]
    schedule = PeriodicTask.objects.create(name=name, task="t", interval=every, **fields)
    Timeline.objects.create(schedule=schedule, rhythm="60 s", decided_until=ago(200), next_at=next_at)
    return schedule


def test_a_schedule_is_overdue_while_beat_has_not_decided_what_is_due() -> None:
    scheduled("late", ago(40))
    scheduled("in time", NOW + timedelta(seconds=30))
    scheduled("off", ago(40), enabled=False)
    scheduled("over", None)
    late = {tick.schedule: tick for tick in read_overdue(NOW)}
    assert set(late) == {"late"}
    assert late["late"].late == pytest.approx(40, abs=1)


def test_an_overdue_tick_is_told_with_the_queue_that_beat_knows() -> None:
    routed, named = scheduled("routed", ago(40)), scheduled("named", ago(40), queue="high")
    Timeline.objects.filter(schedule__in=[routed, named]).update(queue="low")
    faulty = {"outcome": "missed", "reason": "faulty", "known_at": ago(90)}
    Tick.objects.create(schedule=routed, due=ago(90), **faulty)
    told = [(tick.schedule, tick.queue) for tick in read_overdue(NOW)]
    assert sorted(told) == [("named", "high"), ("routed", "low"), ("routed", "low")]


def test_a_tick_whose_job_cannot_be_made_is_overdue_until_a_later_one_is_sent() -> None:
    schedule = scheduled("faulty", NOW + timedelta(seconds=30))
    missed = {"outcome": "missed", "known_at": ago(90)}
    Tick.objects.create(schedule=schedule, due=ago(90), reason="faulty", **missed)
    Tick.objects.create(schedule=schedule, due=ago(150), reason="away", **missed)
    assert [(tick.schedule, tick.due) for tick in read_overdue(NOW)] == [("faulty", ago(90))]
    Tick.objects.create(schedule=schedule, due=ago(30), outcome="fired", known_at=ago(30))
    assert read_overdue(NOW) == []


def test_dead_letters_are_told_of_by_task_until_somebody_settles_them(alone: None) -> None:
    for key, task in (("1", "shop.pay"), ("2", "shop.pay"), ("3", None)):
        DeadLetter.objects.create(
            key=key, why="retries", raw="", headers="{}", since=NOW, last_at=NOW, task=task, queue="low"
        )
    assert found(Kind.DEAD_LETTERS) == {"shop.pay": True, "dead letters": True}
    DeadLetter.objects.filter(task="shop.pay").update(settled="discarded")
    assert found(Kind.DEAD_LETTERS) == {"dead letters": True}


def test_the_loop_gives_a_sign_of_life_after_each_look_and_tells_only_of_changes(alone: None) -> None:
    told = list[None]()
    alerting = Alerting(leading=lambda: True, alerted=lambda: told.append(None))
    rule(Kind.NO_CONSUMER)
    waits("mail")
    alerting.look(NOW)
    alerting.look(NOW)
    assert len(told) == 1
    assert Heartbeat.objects.get(name="alerts").at == NOW
