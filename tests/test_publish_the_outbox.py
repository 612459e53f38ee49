"""What waits in the outbox is published once: late, twice, by two at once, or with the broker away."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import orjson
import pytest
from django.contrib.auth.models import User
from django.db import close_old_connections, transaction

from jobs import outbox
from jobs.models import Action, Job, Outgoing
from jobs.models.people import Outcome
from jobs.outbox import Message
from tests import tasks
from tests.harness import Installation, RedisServer, eventually
from tests.harness.cutting_proxy import CuttingProxy
from tests.working import lines, worker
from workers.app import app
from workers.brokers import BrokerUnreachable, connect, transport
from workers.outbox import Letter, Publisher


def message(task: Any, *args: Any, queue: str = "default", **more: Any) -> Message:
    task_id = str(uuid4())
    letter = app.amqp.as_task_v2(task_id, task.name, args)
    return Message(
        task_id=task_id,
        task=task.name,
        queue=queue,
        body=orjson.dumps(letter.body).decode(),
        headers=letter.headers,
        properties=letter.properties,
        **more,
    )


def depth(queue: str = "default") -> int | None:
    return connect(app.conf.broker_url).sample([queue])[queue].depth


def moment(seconds: float) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=seconds)


def waiting() -> int:
    return Outgoing.objects.count()


def test_a_message_runs_once_it_was_published(installation: Installation, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    outbox.put(message(tasks.note, str(ran), "from the outbox"))
    assert Publisher().publish_due() == 1
    assert waiting() == 0
    worker(installation)
    eventually(lambda: lines(ran) == ["from the outbox"], message="it ran")


def test_a_retry_of_such_a_job_is_no_second_publish(installation: Installation, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    outbox.put(message(tasks.note_and_retry, str(ran), "again", 2, priority=7))
    Publisher().publish_due()
    worker(installation)
    eventually(lambda: lines(ran) == ["again 0 7", "again 1 7", "again 2 7"], message="all attempts ran")


@pytest.mark.usefixtures("redis_url", "transactional_db")
class TestWithoutWorkers:
    def test_what_is_rolled_back_leaves_no_trace(self) -> None:
        with transaction.atomic():
            outbox.put(message(tasks.note, "x", "y"))
            transaction.set_rollback(True)
        assert (Publisher().publish_due(), depth()) == (0, 0)

    def test_what_is_not_due_waits(self) -> None:
        outbox.put(message(tasks.note, "x", "y", due_at=moment(60)))
        assert (Publisher().publish_due(), depth(), waiting()) == (0, 0, 1)
        Outgoing.objects.update(due_at=moment(-1))
        assert (Publisher().publish_due(), depth(), waiting()) == (1, 1, 0)

    def test_a_publisher_that_dies_before_it_says_so_is_repeated_without_effect(self) -> None:
        row = outbox.put(message(tasks.note, "x", "y"))
        first = Publisher()
        first._send([Letter.of(row)])  # and then it was killed
        Outgoing.objects.update(claimed_until=moment(-1))
        assert Publisher().publish_due() == 1
        assert (depth(), waiting()) == (1, 0)

    def test_what_another_one_has_in_hand_is_left_to_it(self) -> None:
        outbox.put(message(tasks.note, "x", "y"))
        assert len(outbox.claim(datetime.now(UTC), 10)) == 1
        assert Publisher().publish_due() == 0

    def test_a_claim_runs_out(self) -> None:
        outbox.put(message(tasks.note, "x", "y"))
        outbox.claim(datetime.now(UTC), 10)
        assert len(outbox.claim(datetime.now(UTC) + outbox.LEASE * 2, 10)) == 1

    def test_a_frozen_publisher_that_wakes_up_publishes_nothing_twice(self) -> None:
        row = outbox.put(message(tasks.note, "x", "y"))
        late = Letter.of(row)
        Publisher().publish_due()
        Publisher()._send([late])
        assert depth() == 1

    def test_a_mark_stands_as_long_as_its_row_and_a_little_longer(self, redis_server: RedisServer) -> None:
        row = outbox.put(message(tasks.note, "x", "y"))
        publisher = Publisher()
        publisher._send([Letter.of(row)])  # and then the database was away
        mark = f"{transport.MARK}{row.task_id}"
        with redis_server.client() as client:
            assert client.ttl(mark) > 6 * 86_400
            publisher.publish_due()
            assert 0 < client.ttl(mark) <= transport.FROZEN_SECONDS

    def test_two_publishers_share_the_work(self) -> None:
        outbox.put_all(message(tasks.note, "x", str(number)) for number in range(300))
        threads = [threading.Thread(target=_publish_all) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert (depth(), waiting()) == (300, 0)

    def test_a_row_that_holds_no_message_is_put_off_with_the_reason_and_holds_nobody_up(self) -> None:
        broken = outbox.put(message(tasks.note, "x", "y"))
        Outgoing.objects.update(body="[1, 2")
        outbox.put(message(tasks.note, "x", "y"))
        Publisher().publish_due()
        row = Outgoing.objects.get()
        assert (row.pk, row.tries, depth()) == (broken.pk, 1, 1)
        assert "JSONDecodeError" in row.fault
        assert row.due_at > moment(0)

    def test_an_action_is_sent_when_its_last_message_is(self, ops: User) -> None:
        action = Action.objects.create(
            at=moment(0), user=ops, who="ops", via="page", command="x", target_kind="job", target="1"
        )
        outbox.put_all([message(tasks.note, "x", "1"), message(tasks.note, "x", "2")], action)
        outbox.published(list(Outgoing.objects.order_by("pk")[:1]))
        action.refresh_from_db()
        assert action.outcome == Outcome.ASKED
        Publisher().publish_due()
        action.refresh_from_db()
        assert action.outcome == Outcome.SENT


def test_with_the_broker_away_everything_waits_and_nothing_counts_as_a_try(
    transactional_db: None, redis_server: RedisServer, redis_url: str
) -> None:
    outbox.put(message(tasks.note, "x", "y"))
    publisher = Publisher()
    redis_server.stop()
    try:
        with pytest.raises(BrokerUnreachable):
            publisher.publish_due()
    finally:
        redis_server.start()
    row = Outgoing.objects.get()
    assert (row.tries, row.claimed_until, row.fault) == (0, None, "")
    assert (publisher.publish_due(), depth()) == (1, 1)


def test_the_monitor_publishes_and_a_job_waits_since_it_was_asked_for(
    installation: Installation, tmp_path: Path
) -> None:
    asked = message(tasks.note, str(tmp_path / "ran"), "x")
    outbox.put(asked)
    Outgoing.objects.update(created_at=moment(-100))
    installation.monitor()
    worker(installation)
    eventually(
        lambda: Job.objects.filter(task_id=asked.task_id, state="succeeded").exists(), message="it ran"
    )
    total = Job.objects.get(task_id=asked.task_id).total
    assert total is not None
    assert 100 <= total < 200


def _publish_all() -> None:
    publisher = Publisher()
    while publisher.publish_due(20):
        pass
    publisher.close()
    close_old_connections()


@pytest.mark.parametrize("rows", [1, 40])
def test_a_publish_whose_answer_is_lost_happens_once(
    transactional_db: None, redis_server: RedisServer, redis_url: str, rows: int
) -> None:
    proxy = CuttingProxy(str(redis_server.socket))
    publisher = Publisher()
    publisher._connection = app.connection_for_write(proxy.url)
    publisher._producer = app.amqp.Producer(publisher._connection, auto_declare=False)
    outbox.put_all(message(tasks.note, "x", str(number)) for number in range(rows))
    proxy.cut_at = b"EVAL"
    with pytest.raises(BrokerUnreachable):
        publisher.publish_due()
    proxy.close()
    assert proxy.cuts == 1
    assert 0 < (depth() or 0) <= rows, "what was sent in one go with the last command happened"
    assert (waiting(), publisher.publish_due()) == (rows, rows)
    assert (waiting(), depth()) == (0, rows)
