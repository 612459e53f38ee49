"""What has had its time is forgotten, and nothing else; what is kept is not looked at again and again."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import redis
from django.db import connection, transaction
from django.db.models import QuerySet
from django.test.utils import CaptureQueriesContext

from jobs import forgetting, models
from jobs.forgetting import Sweep
from jobs.record import Record
from jobs.retention import Retention
from jobs.store import checkpoints
from tests.harness import eventually
from tests.ingesting import at_work
from tests.stream import START, entry_of, life_of, raw
from workers.monitor import prune as prune_loop
from workers.monitor.ingest import STREAM, Ingest
from workers.monitor.lull import Lull
from workers.monitor.prune import FEWEST, MOST, Pruner, next_rows

NOW = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)
DAY = timedelta(days=1)


def job(name: str, state: str, days: float, **facts: Any) -> models.Job:
    """A job that was published and last heard of so many days ago."""
    at = NOW - timedelta(days=days)
    ended_at = at if state in models.ENDED else None
    told = {"published_at": at, "ended_at": ended_at, "seen_at": at, **facts}
    made = models.Job.objects.create(task_id=name, state=state, **told)
    models.Attempt.objects.create(job=made, retries=0, delivery=1, state=state)
    models.Payload.objects.create(job=made, args="[]")
    if state != "succeeded":
        models.Standing.objects.create(job=made, state=state)
    return made


def pruner(**days: float) -> Pruner:
    return Pruner(lambda: True, Retention(**{name: timedelta(days=n) for name, n in days.items()}))


def prune(by: Pruner | None = None, now: datetime = NOW) -> None:
    (by or pruner()).prune(now, threading.Event())


def kept() -> set[str]:
    return set(models.Job.objects.values_list("task_id", flat=True))


@pytest.mark.django_db
def test_each_outcome_has_its_time() -> None:
    job("succeeded, 8 days", "succeeded", 8)
    job("failed, 31 days", "failed", 31)
    job("revoked, 31 days", "revoked", 31)
    job("open, 91 days", "queued", 91)
    job("succeeded, 6 days", "succeeded", 6)
    job("failed, 8 days", "failed", 8)
    job("open, 31 days", "running", 31)
    job("due next week", "scheduled", 100, eta=NOW + 7 * DAY)
    prune()
    assert kept() == {"succeeded, 6 days", "failed, 8 days", "open, 31 days", "due next week"}


@pytest.mark.django_db
def test_a_job_goes_with_all_that_belongs_to_it() -> None:
    job("old", "failed", 31)
    young = job("young", "failed", 1)
    prune()
    for model in (models.Attempt, models.Payload, models.Standing):
        assert list(model.objects.values_list("job_id", flat=True)) == [young.id]


@pytest.mark.django_db
def test_what_was_said_of_a_job_stays_while_its_key_holds_or_it_waits() -> None:
    old = NOW - 91 * DAY
    for name, facts in {
        "over": {}, "its key is over": {"key": "a", "key_until": NOW - DAY},
        "its key holds": {"key": "b", "key_until": NOW + DAY}, "waits": {},
    }.items():  # fmt: skip
        models.Enqueued.objects.create(task_id=name, task="t", at=old, **facts)
        models.Tag.objects.create(task_id=name, name="tag", at=old)
    due = NOW + 300 * DAY
    models.Outgoing.objects.create(task_id="waits", task="t", queue="q", body="", due_at=due, created_at=NOW)
    prune()
    assert set(models.Enqueued.objects.values_list("task_id", flat=True)) == {"its key holds", "waits"}
    assert list(models.Tag.objects.values_list("task_id", flat=True)) == ["waits"]


@pytest.mark.django_db
def test_the_times_can_be_set() -> None:
    job("succeeded", "succeeded", 2)
    job("failed", "failed", 2)
    job("open", "queued", 2)
    prune(pruner(succeeded=3, ended=1, open=3))
    assert kept() == {"succeeded", "open"}


@pytest.mark.django_db
def test_a_job_that_took_long_holds_up_no_other() -> None:
    """It came first, and has just ended; the walk goes by the order in which jobs came."""
    job("long", "succeeded", 20, ended_at=NOW, seen_at=NOW)
    job("ahead of its time", "succeeded", 20, published_at=NOW + 400 * DAY)
    job("old", "succeeded", 9)
    job("young", "succeeded", 1)
    prune()
    assert kept() == {"long", "young"}


@pytest.mark.django_db
def test_what_took_long_is_forgotten_later_all_the_same() -> None:
    walker = pruner()
    job("long", "succeeded", 20, ended_at=NOW, seen_at=NOW)
    job("young", "succeeded", 1)
    prune(walker)
    job("latest", "queued", 0)
    prune(walker, NOW + 7 * DAY + timedelta(minutes=1))
    assert kept() == {"latest"}


@pytest.mark.django_db
def test_a_failure_that_was_passed_is_forgotten_when_its_time_comes() -> None:
    walker = pruner()
    job("failed", "failed", 29)
    job("latest", "queued", 0)
    prune(walker)
    assert kept() == {"failed", "latest"}
    prune(walker, NOW + 2 * DAY)
    assert kept() == {"latest"}


@pytest.mark.django_db
def test_what_is_kept_is_looked_at_once_a_day_not_at_each_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forgetting, "READ_AT_ONCE", 5)
    for number in range(30):
        job(f"failed {number}", "failed", 8)
    job("young", "succeeded", 1)
    sweep = Sweep(Retention())
    assert reads(lambda: list(sweep.over(NOW))) == 7
    assert reads(lambda: list(sweep.over(NOW + timedelta(minutes=1)))) == 1
    assert reads(lambda: list(sweep.over(NOW + DAY))) == 7


def reads(work: Callable[[], object]) -> int:
    with CaptureQueriesContext(
        connection,
    ) as queries:
        work()
    return len(queries)


@pytest.mark.django_db
def test_what_could_not_be_deleted_is_found_again() -> None:
    job("old", "succeeded", 9)
    job("young", "succeeded", 1)
    sweep = Sweep(Retention())
    first = sweep.over(NOW)
    assert next(first) != []
    del first  # the database has refused
    assert list(sweep.over(NOW)) == list(Sweep(Retention()).over(NOW))


@pytest.mark.django_db
def test_the_latest_job_stays_so_that_its_number_is_not_given_again() -> None:
    job("old", "succeeded", 10)
    latest = job("latest", "succeeded", 9)
    prune()
    assert kept() == {"latest"}
    Record("test").commit([entry_of(life_of("new"))])
    assert models.Job.objects.get(task_id="new").id > latest.id


@pytest.mark.django_db
def test_a_job_that_revives_before_its_step_stays_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    revived = job("revived", "failed", 31)
    job("old", "failed", 31)
    job("latest", "queued", 0)
    monkeypatch.setattr(prune_loop, "bring_into_memory", lambda ids: run_again(revived))
    prune()
    assert kept() == {"revived", "latest"}
    assert [len(rows) for rows in rows_of(revived)] == [1, 1, 2]
    assert models.Attempt.objects.exclude(job__in=models.Job.objects.all()).count() == 0


@pytest.mark.django_db(transaction=True)
def test_a_job_that_is_heard_of_after_it_was_forgotten_begins_anew(redis_url: str) -> None:
    late = raw("task-started", "old", 40, retries=1)
    ingest = Ingest(redis_url, lambda _: None)
    with redis.Redis.from_url(redis_url) as client, at_work(ingest):
        tell(client, [*life_of("old", end="task-failed"), *life_of("latest")], first_seq=1)
        forgetting = Pruner(lambda: True, forgotten=ingest.forget)
        prune(forgetting, datetime.fromtimestamp(START, UTC) + 31 * DAY)
        assert kept() == {"latest"}
        tell(client, [late], first_seq=9)
    old = models.Job.objects.get(task_id="old")
    assert (old.state, old.task, old.attempts) == ("running", None, 1)
    assert [len(rows) for rows in rows_of(old)] == [1, 0, 1]


def tell(client: redis.Redis, events: list[Any], first_seq: int) -> None:
    """Write an entry, and wait until it is recorded."""
    stream_id, fields = entry_of(events, first_seq=first_seq)
    client.xadd(STREAM, fields, id=stream_id)  # type: ignore[arg-type]
    eventually(lambda: models.Position.objects.filter(last_id=stream_id).exists())


def test_a_step_begins_right_after_a_commit_so_that_the_next_one_finds_it_done(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("workers.monitor.lull.LIVELY_SECONDS", 600.0)
    lull = Lull()
    lull.begin()
    begun = threading.Thread(target=lull.wait)
    begun.start()
    begun.join(0.1)
    assert begun.is_alive(), "the commit before may be long over, and the next about to come"
    while begun.is_alive():
        lull.begin()
        begun.join(0.01)


def test_where_no_commits_come_nothing_waits_for_them() -> None:
    now = [100.0]
    lull = Lull(clock=lambda: now[0])
    lull.wait()
    lull.begin()
    now[0] += 60.0
    lull.wait()


@pytest.mark.skipif("connection.vendor != 'postgresql'", reason="SQLite has one writer at a time")
@pytest.mark.django_db(transaction=True)
def test_a_job_that_revives_in_an_open_commit_is_waited_for() -> None:
    """The writer has the job and is about to write its attempt: that must not come to lie alone."""
    revived = job("revived", "failed", 31)
    job("latest", "queued", 0)
    written = threading.Event()

    def write() -> None:
        with transaction.atomic():
            run_again(revived)
            written.set()
            eventually(somebody_waits)
        connection.close()

    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(write)
        assert written.wait(10)
        prune()
        writing.result()
    assert kept() == {"revived", "latest"}
    assert [len(rows) for rows in rows_of(revived)] == [1, 1, 2]


def run_again(job: models.Job) -> None:
    """Started anew, as the record writes it: the job first, then what belongs to it."""
    models.Job.objects.filter(id=job.id).update(state="running", ended_at=None, seen_at=NOW)
    models.Attempt.objects.create(job=job, retries=1, delivery=2, state="running")


def rows_of(job: models.Job) -> list[QuerySet[Any]]:
    belonging: tuple[Any, ...] = (models.Standing, models.Payload, models.Attempt)
    return [model.objects.filter(job_id=job.id) for model in belonging]


def somebody_waits() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
        [(waiting,)] = cursor.fetchall()
    return bool(waiting)


@pytest.mark.django_db
def test_buckets_samples_and_processes_have_their_times() -> None:
    other = models.Cluster.objects.create(name="other")
    for cluster in (models.Cluster.DEFAULT_ID, other.pk):
        for days in (0, 6, 8, 89, 91, 1824, 1826):
            for tier in (models.Bucket.MINUTE, models.Bucket.HOUR, models.Bucket.DAY):
                start = int((NOW - days * DAY).timestamp() // tier)
                models.Bucket.objects.create(cluster_id=cluster, tier=tier, start=start, task="t", queue="q")
    for days in (1, 3):
        at = NOW - days * DAY
        models.QueueSample.objects.create(queue="q", at=at, depth=1)
        models.WorkerSample.objects.create(at=at, online=1, known=1)
    channel = models.Channel.objects.create(name="ops")
    for days in (29, 31, 401):
        at = NOW - days * DAY
        models.Worker.objects.create(producer=str(days), name="w", seen_at=at)
        models.Producer.objects.create(id=str(days), seen_at=at)
        models.Gap.objects.create(source="s", reason="sequence", began_at=at, ended_at=at)
        models.Notice.objects.create(channel=channel, event="test", at=at, next_try=at)
        models.Quarantine.objects.create(reason=str(days), first_at=at, last_at=at, sample="")
    prune()
    assert [len(starts(tier)) for tier in (models.Bucket.MINUTE, models.Bucket.HOUR, models.Bucket.DAY)] == [
        2 * 2,
        2 * 4,
        2 * 6,
    ]
    assert models.QueueSample.objects.count() == models.WorkerSample.objects.count() == 1
    assert (
        models.Worker.objects.count() == models.Gap.objects.count() == models.Quarantine.objects.count() == 1
    )
    assert models.Notice.objects.count() == 1
    assert models.Producer.objects.count() == 2


@pytest.mark.django_db
def test_alerts_are_forgotten_after_their_end_with_all_that_belongs_to_them() -> None:
    rule = models.Rule.objects.create(name="r", kind="depth")
    channel = models.Channel.objects.create(name="c", kind="webhook")
    ends = {"fires": None, "young": NOW - 89 * DAY, "old": NOW - 91 * DAY}
    for key, resolved_at in ends.items():
        at, state = NOW - 100 * DAY, "resolved" if resolved_at else "firing"
        common = {"about": "queue", "key": key, "severity": "page", "since": at, "last_seen": at}
        alert = models.Alert.objects.create(rule=rule, state=state, resolved_at=resolved_at, **common)
        models.AlertChange.objects.create(alert=alert, at=at, what="firing")
        models.Notice.objects.create(channel=channel, alert=alert, event="firing", at=NOW, next_try=NOW)
        models.SeenError.objects.create(
            task=key, exception="KeyError", first_at=at, last_at=resolved_at or NOW
        )
    prune()
    left = set(models.Alert.objects.values_list("key", flat=True))
    assert left == set(models.SeenError.objects.values_list("task", flat=True)) == {"fires", "young"}
    assert models.AlertChange.objects.count() == models.Notice.objects.count() == 2


def starts(tier: int) -> list[int]:
    return list(models.Bucket.objects.filter(tier=tier).values_list("start", flat=True))


@pytest.mark.django_db
def test_counters_outlive_the_jobs() -> None:
    Record("test").commit([entry_of(life_of("a"))])
    job("latest", "queued", 0)
    prune(now=datetime.fromtimestamp(START, UTC) + 8 * DAY)
    assert kept() == {"latest"}
    hours = models.Bucket.objects.filter(tier=models.Bucket.HOUR).values_list("published", "succeeded")
    assert list(hours) == [(1, 1)]


@pytest.mark.skipif("connection.vendor != 'sqlite'", reason="PostgreSQL brings in its log by itself")
@pytest.mark.django_db(transaction=True)
def test_nothing_is_deleted_while_the_log_is_brought_in() -> None:
    job("old", "succeeded", 10)
    job("latest", "queued", 0)

    def work() -> None:
        prune()
        connection.close()

    with ThreadPoolExecutor(1) as pool:
        with checkpoints.apart():
            pruning = pool.submit(work)
            with pytest.raises(TimeoutError):
                pruning.result(0.3)
            assert kept() == {"old", "latest"}
        pruning.result(30)
    assert kept() == {"latest"}


def test_steps_grow_and_shrink_with_the_time_they_take() -> None:
    assert next_rows(100, 0.02, 0.02) == 100
    assert next_rows(100, 2.0, 0.02) == 50
    assert next_rows(100, 0.0, 0.02) == 200
    assert next_rows(FEWEST, 10.0, 0.02) == FEWEST
    assert next_rows(MOST, 0.0, 0.02) == MOST
