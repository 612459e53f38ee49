"""Each kind of rule fires and is resolved on what real processes do; the monitor alone is needed for it."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.utils import timezone
from django_celery_beat.models import IntervalSchedule, PeriodicTask

from jobs.models import Alert, Bucket, Channel, DeadLetter, Notice, Rule
from jobs.models.alerts import Kind, Severity
from tests import tasks
from tests.harness import Installation, RedisServer, eventually
from tests.harness.processes import python
from tests.steering import done
from tests.working import worker as worker_that_knows
from workers.app import app
from workers.commands.dead import Discard
from workers.monitor.ingest import STREAM

# A worker is dead after 30 s without a word, rules are looked at every 5 s, and the machine has much to do.
PATIENCE = 90.0


@pytest.fixture
def installation(installation: Installation) -> Installation:
    """Without the rules that are there from the first start."""
    Rule.objects.all().delete()
    return installation


def rule(kind: Kind, **params: float | str) -> Rule:
    """A rule that fires and is resolved at once, and a channel for it."""
    made = Rule.objects.create(
        name=kind.value, kind=kind, params=params, severity=Severity.WARN, for_seconds=0, resolve_seconds=0
    )
    made.channels.add(Channel.objects.get_or_create(name="nobody", defaults={"enabled": True})[0])
    made.full_clean()
    return made


def fires(rule: Rule, key: str, patience: float = PATIENCE) -> Alert:
    """The alert of this rule about this key, or about a name that begins so, as soon as it fires."""
    found: Alert | None = eventually(
        lambda: Alert.objects.filter(rule=rule, key__startswith=key, state="firing").first(),
        patience,
        lambda: f"{rule.kind} of {key}; there are {list(Alert.objects.values('key', 'state', 'evidence'))}",
        every=0.2,
    )
    assert found is not None
    return found


def resolved(alert: Alert) -> None:
    def state() -> bool:
        alert.refresh_from_db()
        return alert.state == "resolved"

    eventually(state, PATIENCE, lambda: f"{alert.rule.kind} is resolved; it is {alert.evidence}", every=0.2)


def told(alert: Alert) -> list[str]:
    return list(Notice.objects.filter(alert=alert).order_by("pk").values_list("event", flat=True))


@pytest.mark.slow
def test_a_queue_without_workers_is_told_of_and_the_monitor_may_be_killed_meanwhile(
    installation: Installation, tmp_path: Path
) -> None:
    nobody = rule(Kind.NO_CONSUMER)
    late = rule(Kind.OLDEST, times=0.1)
    deep = rule(Kind.DEPTH, more_than=1)
    monitor = installation.monitor()
    for number in range(3):
        tasks.note.apply_async((str(tmp_path / "ran"), str(number)), queue="high")

    alerts = [fires(nobody, "high"), fires(deep, "high"), fires(late, "high")]
    assert alerts[0].evidence["readers"] == 0
    assert alerts[1].evidence["value"] == 3
    monitor.kill()
    installation.monitor()
    installation.worker("high")

    for alert in alerts:
        resolved(alert)
        assert told(alert)[0] == "firing"
    assert Alert.objects.count() == 3


@pytest.mark.slow
def test_jobs_that_fail_are_told_of_until_they_succeed_again(
    installation: Installation, tmp_path: Path
) -> None:
    remember_good_days()
    share = rule(Kind.FAILURE_SHARE, by="queue", more_than=0.5, at_least=5)
    rise = rule(Kind.FAILURE_RISE, by="queue", more_than=0.5, at_least=5)
    success = rule(Kind.NO_SUCCESS, at_least=5)
    new = rule(Kind.NEW_ERROR, lasts=60)
    installation.monitor()
    installation.worker("high")
    go = tmp_path / "go"
    go.touch()
    for _ in range(6):
        tasks.end_when_told.apply_async((str(tmp_path / "ran"), str(go), "fail"), queue="high")

    name = tasks.end_when_told.name
    error = fires(new, f"{name}: KeyError")  # first, as it is new for a minute only
    alerts = [fires(share, "high"), fires(rise, "high"), fires(success, name)]
    assert (alerts[0].evidence["value"], alerts[0].evidence["failed"]) == (1.0, 6)
    for _ in range(10):
        tasks.end_when_told.apply_async((str(tmp_path / "ran"), str(go), "succeed"), queue="high")

    for alert in alerts:
        resolved(alert)
    resolved(error)
    assert Alert.objects.count() == 4


def remember_good_days() -> None:
    """Two hundred jobs of yesterday, of which one failed."""
    hour = int(timezone.now().timestamp() // 3600) - 24
    Bucket.objects.create(
        tier=Bucket.HOUR, start=hour, task="tests.tasks.note", queue="high", succeeded=199, failed=1
    )


@pytest.mark.slow
def test_jobs_that_wait_long_are_told_of_until_they_do_not(
    installation: Installation, tmp_path: Path
) -> None:
    slow = rule(Kind.SLOW, measure="wait", percentile=0.5, more_than=2, at_least=3, by="queue")
    go = tmp_path / "go"
    for number in range(3):
        tasks.note.apply_async((str(go), str(number)), queue="high")
    installation.monitor()
    fires(rule(Kind.OLDEST, times=0.2), "high")
    installation.worker("high", slots=2)

    alert = fires(slow, "high")
    assert alert.evidence["jobs"] >= 3
    for number in range(10):
        tasks.note.apply_async((str(go), str(number)), queue="high").get(timeout=30)
    resolved(alert)


@pytest.mark.slow
def test_a_worker_that_is_killed_with_a_job_in_hand_is_told_of_until_it_is_back(
    installation: Installation, tmp_path: Path
) -> None:
    dead = rule(Kind.WORKER_DEAD)
    installation.monitor()
    worker = installation.worker("high")
    tasks.tell_pid_and_wait.apply_async((str(tmp_path / "pid"), str(tmp_path / "done")), queue="high")
    eventually((tmp_path / "pid").exists)
    eventually(lambda: Bucket.objects.filter(started__gt=0).exists(), message="it is known to run")
    worker.kill()

    alert = fires(dead, "test@")
    assert (alert.about, alert.evidence["value"]) == ("worker", 1)
    installation.worker("high")
    resolved(alert)


@pytest.mark.slow
def test_a_silent_beat_and_the_tick_that_it_missed_are_told_of_until_it_is_back(
    installation: Installation,
) -> None:
    silent = rule(Kind.BEAT_SILENT, seconds=10)
    missed = rule(Kind.MISSED_TICK, grace=5)
    every = IntervalSchedule.objects.create(every=5, period=IntervalSchedule.SECONDS)
    PeriodicTask.objects.create(name="pulse", task="tests.tasks.add", args="[1, 2]", interval=every)
    installation.monitor()
    beat = installation.beat()
    eventually(lambda: PeriodicTask.objects.get(name="pulse").total_run_count > 0, PATIENCE)
    beat.kill()

    alerts = [fires(silent, "beat"), fires(missed, "pulse")]
    assert alerts[1].task == "tests.tasks.add"
    installation.beat()
    for alert in alerts:
        resolved(alert)


@pytest.mark.slow
def test_a_worker_that_takes_nothing_is_told_of_until_the_queue_is_empty(
    installation: Installation, tmp_path: Path
) -> None:
    stalled = rule(Kind.STALLED, seconds=60)
    installation.monitor()
    installation.worker("high", slots=2)
    app.control.rate_limit(tasks.note.name, "1/h", reply=True, timeout=5)
    for number in range(8):
        tasks.note.apply_async((str(tmp_path / "ran"), str(number)), queue="high")

    alert = fires(stalled, "high", 180)
    assert (alert.evidence["readers"], alert.evidence["taken"]) == (1, 0)
    with app.connection_for_write() as connection:
        connection.default_channel.queue_purge("high")  # type: ignore[attr-defined]
    resolved(alert)


@pytest.mark.slow
def test_a_broker_that_is_away_is_told_of_until_it_is_back(
    installation: Installation, redis_server: RedisServer
) -> None:
    stream = rule(Kind.STREAM)
    installation.monitor().says("this monitor leads")
    redis_server.stop()
    try:
        alert = fires(stream, "broker")
    finally:
        redis_server.start()
    resolved(alert)


@pytest.mark.slow
def test_a_dead_letter_is_told_of_until_somebody_has_decided(installation: Installation, ops: User) -> None:
    waiting = rule(Kind.DEAD_LETTERS)
    installation.monitor()
    worker_that_knows(installation, tasks="workers.tasks")
    tasks.add.delay(1, 2)

    alert = fires(waiting, tasks.add.name)
    assert (alert.evidence["value"], alert.task, alert.queue) == (1, tasks.add.name, "default")
    done(ops, Discard((DeadLetter.objects.get().pk,)))
    resolved(alert)


@pytest.mark.slow
def test_a_record_that_is_late_or_has_lost_events_is_told_of_until_it_has_caught_up(
    installation: Installation, redis_server: RedisServer, tmp_path: Path
) -> None:
    stream = rule(Kind.STREAM, lag=2, gap=60)
    free = tmp_path / "free"
    installation.worker("high")
    first, second, third = (
        tasks.note.apply_async((str(tmp_path / "ran"), str(number)), queue="high") for number in range(3)
    )
    for job in (first, second, third):
        job.get(timeout=30)
    with redis_server.client() as client:
        eventually(lambda: client.xlen(STREAM) > 2, message="the worker has told of its jobs")
        client.xtrim(STREAM, maxlen=1, approximate=False)
    installation.start("monitor", python("-m", "tests.stuck_monitor", str(free)))

    late = fires(stream, "lag")
    assert late.evidence["value"] > 2
    free.touch()
    gap = fires(stream, "gap")
    assert gap.evidence["value"] is None or gap.evidence["value"] > 0
    resolved(late)
    resolved(gap)
