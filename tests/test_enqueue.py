"""`enqueue`: a job is committed with its data or not at all, waits for its broker, and is refused clearly."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from celery import chain, chord, group
from django.contrib.auth.models import User
from django.db import connections, transaction
from django_celery_results.models import ChordCounter  # type: ignore[attr-defined]

from jobs.enqueued import jobs_of
from jobs.models import Enqueued, Job, Outgoing, Tag
from tests import tasks
from tests.harness import Installation, RedisServer, eventually
from tests.test_publish_the_outbox import depth
from tests.working import lines, worker
from workers.app import app
from workers.dispatch import dispatcher
from workers.enqueue import EnqueueError, aenqueue, aenqueue_many, enqueue, enqueue_many, using
from workers.outbox import Publisher

pytestmark = [pytest.mark.usefixtures("redis_url"), pytest.mark.django_db(transaction=True)]


@pytest.fixture(autouse=True)
def rested(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another test's broker may have been away."""
    monkeypatch.setattr(dispatcher, "_rest_until", 0.0)


def settled() -> bool:
    return not Outgoing.objects.exists()


def reach(jobs: int, queue: str = "default") -> None:
    eventually(lambda: settled() and depth(queue) == jobs, message=f"{jobs} jobs are in {queue}")


def test_a_job_is_published_right_after_the_commit() -> None:
    with transaction.atomic():
        User.objects.create(username="ana")
        job = enqueue(tasks.note, "file", "text")
        assert job.is_held
        assert depth() == 0
    reach(1)
    assert not job.is_held


def test_without_a_transaction_it_is_published_at_once() -> None:
    enqueue(tasks.note, "file", text="text")
    reach(1)


def test_rolled_back_it_leaves_no_trace() -> None:
    with transaction.atomic():
        using(key="k", tags=["a"], about=User.objects.create(username="ana")).enqueue(tasks.note, "f", "t")
        transaction.set_rollback(True)
    assert Publisher().publish_due() == 0
    assert (depth(), Outgoing.objects.count(), Enqueued.objects.count(), Tag.objects.count()) == (0, 0, 0, 0)


def test_a_savepoint_that_is_rolled_back_takes_its_job_along() -> None:
    with transaction.atomic():
        enqueue(tasks.note, "file", "kept")
        with transaction.atomic():
            enqueue(tasks.note, "file", "dropped")
            transaction.set_rollback(True)
    reach(1)


def test_with_the_broker_away_a_job_waits(redis_server: RedisServer) -> None:
    redis_server.stop()
    try:
        assert enqueue(tasks.note, "file", "text").is_held
    finally:
        redis_server.start()
    eventually(lambda: Publisher().publish_due() or settled(), message="it was published in the end")
    reach(1)


def test_nobody_waits_for_a_broker_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, answer = threading.Event(), threading.Event()

    def publish(publisher: Publisher, rows: object) -> None:
        asked.set()
        answer.wait(30)

    monkeypatch.setattr(Publisher, "publish", publish)
    try:
        job = enqueue(tasks.note, "file", "text")
        assert asked.wait(10), "the broker is asked meanwhile, by another thread"
        assert job.is_held
        assert not answer.is_set(), "and enqueue has returned before it answered"
    finally:
        answer.set()


def test_a_process_that_dies_before_it_publishes_leaves_the_job_to_the_monitor(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatcher, "post", lambda rows: None)  # it was killed right there
    enqueue(tasks.note, "file", "text")
    installation.monitor()
    reach(1)


def test_a_delayed_job_waits_in_the_database_and_the_record_knows(
    installation: Installation, tmp_path: Path
) -> None:
    installation.monitor()
    worker(installation)
    ran = tmp_path / "ran"
    job = using(delay=timedelta(seconds=4)).enqueue(tasks.note, str(ran), "late")
    eventually(lambda: Job.objects.filter(task_id=job.id, state="scheduled").exists(), message="it is known")
    assert (job.is_held, depth()) == (True, 0)
    eventually(lambda: lines(ran) == ["late"], message="it ran")
    found = Job.objects.filter(task_id=job.id, state="succeeded")
    eventually(found.exists, message="its end is recorded")
    known = found.get()
    assert known.eta is not None
    assert known.started_at is not None
    assert known.started_at >= known.eta


def test_a_key_makes_the_second_job_the_first_one() -> None:
    first = using(key="invoice-1").enqueue(tasks.note, "file", "text")
    again = using(key="invoice-1").enqueue(tasks.note, "file", "text")
    other = using(key="invoice-1").enqueue(tasks.note_and_retry, "file", "text", 1)
    assert (again.id, again.new, other.new) == (first.id, False, True)
    reach(2)


def test_a_key_holds_for_its_time_only() -> None:
    first = using(key="k", key_for=timedelta(0)).enqueue(tasks.note, "file", "text")
    assert using(key="k").enqueue(tasks.note, "file", "text").id != first.id


def test_a_key_that_was_rolled_back_is_free() -> None:
    with transaction.atomic():
        using(key="k").enqueue(tasks.note, "file", "text")
        transaction.set_rollback(True)
    assert using(key="k").enqueue(tasks.note, "file", "text").new


def test_the_jobs_of_an_object_are_found(installation: Installation, tmp_path: Path) -> None:
    ana = User.objects.create(username="ana")
    job = using(about=ana, tags=["welcome", "mail"]).enqueue(tasks.note, str(tmp_path / "ran"), "hello")
    installation.monitor()
    eventually(lambda: [found.task_id for found in jobs_of(ana)] == [job.id], message="it is recorded")
    assert sorted(Tag.objects.values_list("name", flat=True)) == ["mail", "welcome"]
    assert not jobs_of(User.objects.create(username="bo")).exists()


def test_queue_and_priority_are_the_tasks_own_unless_given() -> None:
    using(queue="high", priority=9).enqueue(tasks.note, "file", "text")
    reach(1, "high")
    enqueue(tasks.note, "file", "text")
    reach(1, "default")


def test_what_json_carries_in_celerys_own_way_arrives(installation: Installation, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    moment = datetime(2026, 3, 1, tzinfo=UTC)
    enqueue(tasks.note, str(ran), [moment, Decimal("1.5"), 10**30])
    worker(installation)
    expected = str([moment, Decimal("1.5"), 10**30])
    eventually(lambda: lines(ran) == [expected], message="it ran with what was given")


@pytest.mark.parametrize(
    ("task", "args", "options", "words"),
    [
        ("tests.tasks.nota", (), {}, "did you mean tests.tasks.note"),
        ("nothing.like.it.zzz", (), {}, "there is no task"),
        (print, (), {}, "there is no task"),
        (tasks.note, ("file",), {}, "missing 1 required positional argument: 'text'"),
        (tasks.note, ("file", "t", "more"), {}, "takes"),
        (tasks.note, ("file", {"a": [1, {2}]}), {}, r"args\[1\]\['a'\]\[1\], a set"),
        (tasks.note, ("file", User(pk=3)), {}, "pass its primary key"),
        (tasks.note, ("file", "x" * 300_000), {}, "over JOB_BODY_CAP"),
        (tasks.note, ("file", "t"), {"queue": "hihg"}, "did you mean high"),
        (tasks.note, ("file", "t"), {"priority": 10}, "between 0 and 9"),
        (tasks.note, ("file", "t"), {"eta": datetime(2026, 1, 1)}, "time zone"),  # noqa: DTZ001 the fault
        (tasks.note, ("file", "t"), {"eta": datetime.now(UTC), "delay": 1}, "exclude"),
        (tasks.note, ("file", "t"), {"about": User()}, "not saved"),
        (chain(tasks.note.s("f", "t"), tasks.note.si("f", "u")), ("x",), {}, "its own arguments"),
        (chain(tasks.note.si("f", "t").set(eta=datetime(2030, 1, 1))), (), {}, "time zone"),  # noqa: DTZ001
    ],
)
def test_what_can_not_be_enqueued_is_refused_with_the_reason(
    task: Any, args: Any, options: Any, words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        using(**options).enqueue(task, *args)
    assert settled()


def test_many_go_in_one_transaction() -> None:
    calls = [("file", str(number)) for number in range(1_200)]
    made = enqueue_many(tasks.note, [*calls, {"file": "f", "text": "by name"}])
    assert len({job.id for job in made}) == 1_201
    reach(1_201)


def test_one_bad_call_of_many_leaves_none() -> None:
    with pytest.raises(EnqueueError):
        enqueue_many(tasks.note, [("file", "text"), ("file",)])
    assert (depth(), settled()) == (0, True)


@pytest.fixture
def eager() -> Iterator[None]:
    app.conf.task_always_eager = True
    yield
    app.conf.task_always_eager = False


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("rolled_back", [False, True])
def test_in_eager_tests_all_runs_after_the_commit(tmp_path: Path, rolled_back: bool) -> None:
    file = str(tmp_path / "ran")
    with transaction.atomic():
        enqueue_many(tasks.note, [(file, "a"), {"file": file, "text": "b"}])
        enqueue(chain(tasks.note.si(file, "c"), tasks.note.si(file, "d")))
        assert lines(tmp_path / "ran") == []
        transaction.set_rollback(rolled_back)
    assert lines(tmp_path / "ran") == ([] if rolled_back else ["a", "b", "c", "d"])


async def test_async_code_has_its_twins() -> None:
    job = await aenqueue(tasks.note, "file", "text")
    many = await aenqueue_many(tasks.note, [("file", "a"), ("file", "b")])
    assert len({job.id, *(each.id for each in many)}) == 3


@pytest.mark.parametrize("rolled_back", [False, True])
def test_a_canvas_goes_with_its_transaction(
    installation: Installation, tmp_path: Path, rolled_back: bool
) -> None:
    ran = tmp_path / "ran"
    file = str(ran)
    with transaction.atomic():
        enqueue(chain(tasks.note.si(file, "first"), tasks.note.si(file, "second")))
        enqueue(group(tasks.note.si(file, "a"), tasks.note.si(file, "b")))
        enqueue(chord([tasks.note.si(file, "c"), tasks.note.si(file, "d")], tasks.note.si(file, "body")))
        transaction.set_rollback(rolled_back)
    worker(installation, slots=2)
    if rolled_back:
        assert (Publisher().publish_due(), ChordCounter.objects.count()) == (0, 0)
        assert lines(ran) == []
        return
    everything = ["a", "b", "body", "c", "d", "first", "second"]
    eventually(lambda: sorted(lines(ran)) == everything, message="all of them ran")
    assert lines(ran).index("body") > max(lines(ran).index("c"), lines(ran).index("d"))


def test_a_canvas_under_a_key_that_is_taken_leaves_nothing() -> None:
    canvas = chord([tasks.note.si("f", "c")], tasks.note.si("f", "body"))
    first = using(key="nightly").enqueue(canvas.clone())
    again = using(key="nightly").enqueue(canvas.clone())
    assert (again.id, again.new) == (first.id, False)
    assert ChordCounter.objects.count() == 1
    reach(1)


@pytest.mark.parametrize("make", [chain, group])
def test_all_jobs_of_a_canvas_are_about_its_object_and_its_messages_are_held(
    make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatcher, "post", lambda rows: None)
    ana = User.objects.create(username="ana")
    job = using(about=ana, tags=["mail"], key="k").enqueue(
        make(tasks.note.si("f", "a"), tasks.note.si("f", "b"))
    )
    jobs = {job.id, *Outgoing.objects.values_list("task_id", flat=True)}
    assert job.is_held
    assert set(Enqueued.objects.filter(object_id=str(ana.pk)).values_list("task_id", flat=True)) >= jobs
    assert set(Tag.objects.values_list("task_id", flat=True)) >= jobs
    assert Enqueued.objects.get(key="k").task_id == job.id


def test_celerys_own_delay_works_beside_it() -> None:
    tasks.note.delay("file", "text")
    assert depth() == 1
    connections.close_all()
