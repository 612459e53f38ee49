"""What is promised of enqueued jobs holds on RabbitMQ: nothing lost, and one effect of what comes twice."""

from __future__ import annotations

import json
import signal
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from celery import chord
from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction

from jobs import outbox
from jobs.models import Attempt, Heartbeat, Job, Outgoing, QueueSample
from tests import promises, tasks
from tests.conftest import database_url
from tests.harness import Installation, PostgresServer, RabbitServer, RedisServer, eventually
from tests.harness.cutting_proxy import CuttingProxy
from tests.harness.processes import python
from tests.harness.rabbit_server import needed
from tests.test_publish_the_outbox import message, waiting
from tests.test_survive_enqueue import judge, play
from tests.working import lines, worker
from workers.app import app
from workers.brokers import BrokerUnreachable, connect
from workers.enqueue import enqueue, enqueue_many, using
from workers.outbox import Letter, Publisher

QUEUES = ("default", "high", "low")


@pytest.fixture(scope="module")
def rabbit() -> Iterator[RabbitServer]:
    """A RabbitMQ for the tests of this file."""
    needed()
    server = RabbitServer()
    server.start()
    yield server
    server.remove()


@pytest.fixture
def broker(rabbit: RabbitServer, monkeypatch: pytest.MonkeyPatch, redis_url: str) -> Iterator[RabbitServer]:
    """The broker of this process as well, with empty queues, to which the test itself publishes."""
    with rabbit.channel() as channel:
        for queue in QUEUES:
            channel.queue_delete(queue)
    monkeypatch.setattr("workers.dispatch.dispatcher.post", lambda rows: None)
    monkeypatch.setattr("workers.dispatch.dispatcher.sweep", lambda: None)
    before = {name: app.conf[name] for name in ("broker_url", "broker_transport_options")}
    speak_to(broker_url=rabbit.url, broker_transport_options={"confirm_publish": True})
    yield rabbit
    speak_to(**before)


def speak_to(**settings: Any) -> None:
    """Have this process's Celery publish there, and forget the connections that it has."""
    app.conf.update(settings)
    celery: Any = app
    celery._pool = celery.amqp._producer_pool = None


@pytest.fixture
def installed(
    broker: RabbitServer,
    transactional_db: None,
    postgres_server: PostgresServer | None,
    redis_server: RedisServer,
) -> Iterator[Installation]:
    """Starters for real processes whose broker is RabbitMQ."""
    where = database_url(postgres_server)
    installation = Installation(
        settings.DATA_DIR, where, redis_server, BROKER_URL=broker.url, CLAIM_LEASE="2"
    )
    yield installation
    installation.stop()


def depth(server: RabbitServer, queue: str = "default") -> int:
    return connect(server.url).sample([queue])[queue].depth


def taken(server: RabbitServer, queue: str = "default") -> list[Any]:
    """The messages that wait, taken out."""
    with server.channel() as channel:
        return list(iter(lambda: channel.basic_get(queue, no_ack=True), None))


def published(publisher: Publisher | None = None) -> int:
    """Publish what is due, though it is left to this process for a moment; how many rows."""
    Outgoing.objects.update(claimed_until=None)
    return (publisher or Publisher()).publish_due()


def settled() -> bool:
    return not Outgoing.objects.exists()


@pytest.mark.usefixtures("transactional_db")
class TestPublishing:
    def test_a_job_is_published_with_its_priority_and_an_id_that_stays(self, broker: RabbitServer) -> None:
        job = using(priority=8).enqueue(tasks.note, "file", "text")
        assert published() == 1
        [found] = taken(broker)
        told = found.properties
        assert (told["message_id"], told["correlation_id"], told["priority"]) == (job.id, job.id, 8)
        assert (told["delivery_mode"], "nightdesk_once" in told["application_headers"]) == (2, False)
        assert settled()

    def test_rolled_back_it_leaves_no_trace(self, broker: RabbitServer) -> None:
        with transaction.atomic():
            enqueue(tasks.note, "file", "text")
            transaction.set_rollback(True)
        assert (published(), depth(broker)) == (0, 0)

    def test_many_are_confirmed_in_one_go(self, broker: RabbitServer) -> None:
        enqueue_many(tasks.note, [("file", str(number)) for number in range(1_200)])
        publisher = Publisher()
        assert [publisher.publish_due() for _ in range(4)] == [500, 500, 200, 0]
        assert len({found.properties["message_id"] for found in taken(broker)}) == 1_200

    def test_a_publish_that_nobody_noted_is_repeated_under_the_same_id(self, broker: RabbitServer) -> None:
        row = outbox.put(message(tasks.note, "x", "y"))
        Publisher()._send([Letter.of(row)])  # and then it was killed
        assert Publisher().publish_due() == 1
        assert [found.properties["message_id"] for found in taken(broker)] == [row.task_id] * 2
        assert settled()

    @pytest.mark.parametrize("rows", [1, 40])
    def test_a_publish_whose_confirm_is_lost_is_repeated(self, broker: RabbitServer, rows: int) -> None:
        proxy = CuttingProxy(broker.port)
        app.conf.update(broker_url=broker.url.replace(str(broker.port), str(proxy.port)))
        publisher = Publisher()
        ids = {outbox.put(message(tasks.note, "x", str(number))).task_id for number in range(rows)}
        proxy.cut_at = b"TESTS.TASKS.NOTE"
        with pytest.raises(BrokerUnreachable):
            publisher.publish_due()
        assert (proxy.cuts, waiting()) == (1, rows)
        assert 0 < depth(broker) <= rows, "what was sent before the cut arrived"
        assert (publisher.publish_due(), waiting()) == (rows, 0)
        found = [message.properties["message_id"] for message in taken(broker)]
        assert set(found) == ids
        assert len(found) > rows
        proxy.close()

    def test_a_queue_that_was_deleted_meanwhile_swallows_nothing(self, broker: RabbitServer) -> None:
        publisher = Publisher()
        enqueue(tasks.note, "file", "first")
        assert published(publisher) == 1
        with broker.channel() as channel:
            channel.queue_delete("default")
        job = enqueue(tasks.note, "file", "second")
        with pytest.raises(BrokerUnreachable, match="NO_ROUTE"):
            published(publisher)
        assert job.is_held
        assert publisher.publish_due() == 1
        assert [found.properties["message_id"] for found in taken(broker)] == [job.id]

    def test_a_queue_of_other_arguments_takes_nothing_says_why_and_holds_up_no_other(
        self, broker: RabbitServer
    ) -> None:
        with broker.channel() as channel:
            channel.queue_declare("low", durable=True, auto_delete=False)
        first = enqueue(tasks.note, "file", "first")
        job = using(queue="low").enqueue(tasks.note, "file", "text")
        second = enqueue(tasks.note, "file", "second")
        publisher = Publisher()
        assert [published(publisher), published(publisher)] == [3, 0]
        Outgoing.objects.update(due_at=datetime.now(UTC))
        third = enqueue(tasks.note, "file", "third")
        assert published(publisher) == 2
        row = Outgoing.objects.get()
        assert (row.task_id, row.tries, "x-max-priority" in row.fault, job.is_held) == (job.id, 2, True, True)
        found = [message.properties["message_id"] for message in taken(broker)]
        assert found == [first.id, second.id, third.id]
        assert not taken(broker, "low")

    @pytest.mark.parametrize("header", [{"n": 2**70}, {"x" * 300: 1}], ids=["number", "name"])
    def test_a_message_that_amqp_cannot_carry_is_put_off_and_the_others_go_once(
        self, broker: RabbitServer, header: dict[str, Any]
    ) -> None:
        unfit = message(tasks.note, "x", "unfit")
        others = [message(tasks.note, "x", str(number)) for number in range(3)]
        outbox.put_all([others[0], replace(unfit, headers={**unfit.headers, **header}), *others[1:]])
        assert published() == 4
        row = Outgoing.objects.get()
        assert (row.task_id, row.tries, row.fault.split(":")[0]) == (unfit.task_id, 1, "error")
        found = [message.properties["message_id"] for message in taken(broker)]
        assert found == [other.task_id for other in others]

    def test_a_broker_that_is_silent_is_not_waited_for(
        self, broker: RabbitServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("workers.brokers.amqp_transport.Channel.PATIENCE", 0.5)
        monkeypatch.setattr("workers.outbox.PATIENCE", {"read_timeout": 1, "write_timeout": 1})
        publisher = Publisher()
        enqueue(tasks.note, "file", "before")
        assert published(publisher) == 1
        held = using(queue="high").enqueue(tasks.note, "file", "text")
        broker.send(signal.SIGSTOP)
        try:
            with pytest.raises(BrokerUnreachable):
                published(publisher)
        finally:
            broker.send(signal.SIGCONT)
        assert held.is_held
        assert publisher.publish_due() == 1

    def test_a_broker_that_does_not_confirm_is_not_waited_for(
        self, broker: RabbitServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("workers.brokers.amqp_transport.Channel.PATIENCE", 0.5)
        monkeypatch.setattr("workers.brokers.amqp_transport.Channel._confirmed", lambda *_: None)
        job = enqueue(tasks.note, "file", "text")
        with pytest.raises(BrokerUnreachable, match="not confirmed"):
            published()
        assert job.is_held

    def test_what_celery_publishes_itself_is_confirmed_too(self, broker: RabbitServer) -> None:
        with app.connection_for_write() as connection:
            publish: Any = tasks.note.apply_async
            publish(("file", "text"), connection=connection)
            channel: Any = connection.default_channel
            assert channel._confirm_selected
        assert len(taken(broker)) == 1


def test_the_depth_of_queues_is_known_and_their_age_is_not(
    broker: RabbitServer, transactional_db: None
) -> None:
    using(queue="high").enqueue(tasks.note, "file", "text")
    assert published() == 1
    told = connect(broker.url).sample(["high", "nowhere"])
    assert [(one.depth, one.oldest_at, one.unacked) for one in told.values()] == [
        (1, None, None),
        (0, None, None),
    ]
    assert connect(broker.url).latency() < 2


def test_a_broker_that_is_away_is_told_at_once() -> None:
    with pytest.raises(BrokerUnreachable):
        connect("amqp://guest:guest@127.0.0.1:1//").sample(["default"])


def test_of_two_messages_of_one_job_one_has_an_effect(
    installed: Installation, broker: RabbitServer, tmp_path: Path
) -> None:
    noted, done = tmp_path / "noted", tmp_path / "done"
    job = enqueue(promises.hold, str(noted), str(done))
    Publisher()._send([Letter.of(Outgoing.objects.get())])
    assert (published(), depth(broker)) == (1, 2)
    installed.monitor()
    process = worker(installed, slots=2, tasks="tests.promises")
    eventually(lambda: Attempt.objects.filter(state="duplicate").exists(), 30)
    done.touch()
    eventually(lambda: Job.objects.filter(task_id=job.id, state="succeeded").exists(), 30)
    eventually(lambda: Attempt.objects.filter(state="duplicate").count() > 1, 30, message="it looked again")
    process.stop()
    assert depth(broker) == 0
    assert [line.split()[0] for line in lines(noted)] == ["began", "ended"]


def test_the_job_of_a_killed_worker_is_taken_over(installed: Installation, tmp_path: Path) -> None:
    noted, done = tmp_path / "noted", tmp_path / "done"
    job = enqueue(promises.hold, str(noted), str(done))
    published()
    first = worker(installed, tasks="tests.promises")
    eventually(lambda: lines(noted), 30)
    installed.monitor()
    second = worker(installed, tasks="tests.promises")
    first.kill()
    eventually(lambda: len(lines(noted)) == 2, 60, lambda: second.text()[-2000:])
    done.touch()
    eventually(lambda: Job.objects.filter(task_id=job.id, state="succeeded").exists(), 30)
    assert [line.split()[0] for line in lines(noted)] == ["began", "began", "ended"]


def test_retries_chords_and_delayed_jobs_run_and_the_urgent_ones_first(
    installed: Installation, broker: RabbitServer, tmp_path: Path
) -> None:
    ran, order = tmp_path / "ran", tmp_path / "order"
    for priority in (2, 9, 0, 5, 7):
        using(queue="low", priority=priority).enqueue(tasks.note, str(order), str(priority))
    file = str(ran)
    enqueue(tasks.note_and_retry, file, "again", 2)
    enqueue(chord([tasks.note.si(file, "a"), tasks.note.si(file, "b")], tasks.note.si(file, "body")))
    late = using(delay=timedelta(seconds=3)).enqueue(tasks.note, file, "late")
    assert (published(), late.is_held, depth(broker, "low")) == (8, True, 5)
    installed.monitor()
    worker(installed, "default,low")
    expected = ["a", "again 0 5", "again 1 5", "again 2 5", "b", "body", "late"]
    eventually(lambda: sorted(lines(ran)) == expected, 40, lambda: str(lines(ran)))
    eventually(lambda: len(lines(order)) == 5, 20)
    assert lines(order) == ["9", "7", "5", "2", "0"]
    eventually(lambda: QueueSample.objects.filter(queue="low", depth=0).exists(), 20)
    told = json.loads(Heartbeat.objects.get(name="broker").detail)
    assert (told["ok"], bool(told["server"]["facts"]["version"])) == (True, True), "the Redis of the stream"


@pytest.mark.slow
def test_with_rabbitmq_killed_jobs_wait_and_come_with_it(
    installed: Installation, broker: RabbitServer, tmp_path: Path
) -> None:
    ran = tmp_path / "ran"
    installed.monitor()
    worker(installed)
    enqueue(tasks.note, str(ran), "before")
    eventually(lambda: lines(ran) == ["before"], 30)
    broker.kill()
    try:
        argv = python("-m", "tests.enqueue_rounds", "0", "6", str(ran))
        program = installed.start("enqueue-rounds", argv)
        eventually(lambda: program.exit_code is not None, 60, program.text)
        assert User.objects.exists()
        eventually(Outgoing.objects.exists)
    finally:
        broker.start()
    expected = {"before", *(user.username for user in User.objects.all())}
    eventually(lambda: set(lines(ran)) == expected, 60, lambda: str(lines(ran)))
    eventually(settled)
    assert Counter(lines(ran)) == Counter(expected)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_each_committed_row_has_its_job_and_each_job_its_row(installed: Installation, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    installed.monitor()
    worker(installed, slots=2)
    judge(ran, play(installed, ran, 100), 100)
