"""Purging deletes what waits at one moment, once, and the record hears which jobs went."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import User

from jobs.models import Job, Order, State
from jobs.models.people import Outcome
from jobs.orders import RESUMED_WITHIN
from jobs.perform import Actor, perform
from tests import tasks
from tests.harness import Installation, RedisServer, eventually
from tests.steering import asked, done, settled
from tests.working import lines
from workers.app import app
from workers.brokers import BrokerUnreachable, Waiting, connect
from workers.brokers.redis_purge import KEPT_SECONDS
from workers.commands.queues import PurgeQueue
from workers.control import Control
from workers.monitor import orders
from workers.monitor.orders import carry_out, ticket_of


def depth(url: str, queue: str) -> int:
    return connect(url).sample([queue])[queue].depth


def control_of() -> Control:
    return Control(app, settings.CELERY_BROKER_URL)


def test_a_broker_that_cannot_say_what_it_deletes_is_not_asked(ops: User, settings: Any) -> None:
    settings.CELERY_BROKER_URL = "amqp://localhost/"
    action = perform(Actor(ops, "page"), PurgeQueue("high", confirm="high"))
    assert (action.refusal, Order.objects.exists()) == ("broker", False)


def test_what_waits_is_deleted_and_its_jobs_end_as_revoked(
    installation: Installation, ops: User, tmp_path: Path
) -> None:
    installation.monitor()
    for priority in (0, 5, 9):
        tasks.note.apply_async((str(tmp_path / "ran"), "never"), queue="high", priority=priority)
    tasks.note.apply_async((str(tmp_path / "ran"), "low stays"), queue="low")
    eventually(lambda: Job.objects.filter(state=State.QUEUED).count() == 4, message="all are recorded")

    action = done(ops, PurgeQueue("high", confirm="high"), "a bad release")

    assert (action.count, action.detail) == (3, "3 messages deleted.")
    installation.worker("high,low")
    eventually(lambda: lines(tmp_path / "ran") == ["low stays"])
    eventually(lambda: Job.objects.filter(queue="high", state=State.REVOKED).count() == 3)


def test_a_purge_takes_each_moment_once_and_goes_on_where_it_was(redis_url: str) -> None:
    broker, told = connect(redis_url), list[str]()
    for number in range(1_200):
        tasks.add.apply_async((number, 1), queue="high", task_id=f"old-{number}")

    def break_off(gone: Sequence[Waiting]) -> None:
        told.extend(waiting.task_id for waiting in gone)
        if len(told) > 900:
            raise BrokerUnreachable("the monitor was killed here")

    with pytest.raises(BrokerUnreachable):
        broker.purge("high", "ticket", break_off)
    tasks.add.apply_async((1, 1), queue="high", task_id="new")
    told.clear()
    assert broker.purge("high", "ticket", break_off) == 1_200
    assert "new" not in told
    assert depth(redis_url, "high") == 1
    assert broker.purge("high", "ticket", break_off) == 1_200


def test_nothing_is_no_fault(redis_url: str) -> None:
    assert connect(redis_url).purge("empty", "ticket", lambda gone: None) == 0


def test_what_can_not_be_read_is_deleted_all_the_same(redis_url: str, redis_server: RedisServer) -> None:
    with redis_server.client() as client:
        client.rpush("high", b"not json", b"{}", b'{"headers": {"id": 7}}', b'{"headers": []}')
    told: list[Waiting] = []
    assert connect(redis_url).purge("high", "ticket", told.extend) == 4
    assert told == []


@pytest.mark.slow
def test_a_broker_that_is_away_says_so_and_the_purge_waits(
    installation: Installation, ops: User, redis_server: RedisServer
) -> None:
    installation.monitor()
    tasks.add.apply_async((1, 1), queue="high")
    redis_server.stop()
    try:
        action = asked(ops, PurgeQueue("high", confirm="high"))
        assert action.is_open
    finally:
        redis_server.start()
    assert settled(action, 60).count == 1


@pytest.mark.django_db
def test_a_purge_that_nobody_could_carry_out_in_time_is_not_done_later(ops: User, redis_url: str) -> None:
    tasks.add.apply_async((1, 1), queue="high")
    action = asked(ops, PurgeQueue("high", confirm="high"))
    carry_out(control_of(), datetime.now(UTC) + timedelta(minutes=6))
    action.refresh_from_db()
    assert (action.outcome, action.detail) == (Outcome.FAILED, "Not sent: the broker was away.")
    assert depth(redis_url, "high") == 1


@pytest.mark.django_db(transaction=True)
def test_a_purge_that_was_broken_off_for_longer_than_orders_live_is_taken_up_again(
    ops: User, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_off(gone: Sequence[Waiting]) -> None:
        raise BrokerUnreachable("the monitor was killed here")

    tasks.add.apply_async((1, 1), queue="high", task_id="old")
    action, control = asked(ops, PurgeQueue("high", confirm="high")), control_of()
    with monkeypatch.context() as patch:
        patch.setattr(orders, "_tell_gone", break_off)
        with pytest.raises(BrokerUnreachable):
            carry_out(control, datetime.now(UTC))
    tasks.add.apply_async((1, 1), queue="high", task_id="new")
    carry_out(control, datetime.now(UTC) + timedelta(hours=3))
    action.refresh_from_db()
    assert (action.outcome, action.count, depth(redis_url, "high")) == (Outcome.DONE, 1, 1)


@pytest.mark.django_db(transaction=True)
def test_a_purge_that_was_sent_and_never_begun_is_not_begun_later(ops: User, redis_url: str) -> None:
    tasks.add.apply_async((1, 1), queue="high")
    action = asked(ops, PurgeQueue("high", confirm="high"))
    Order.objects.update(sent_at=datetime.now(UTC))
    carry_out(control_of(), datetime.now(UTC) + timedelta(minutes=6))
    action.refresh_from_db()
    assert (action.outcome, action.detail) == (Outcome.FAILED, "It did not answer: nothing was deleted.")
    assert depth(redis_url, "high") == 1


def test_a_purge_is_given_up_before_the_broker_forgets_what_it_set_aside() -> None:
    assert RESUMED_WITHIN.total_seconds() < KEPT_SECONDS


@pytest.mark.django_db
def test_a_second_purge_waits_for_the_first(ops: User) -> None:
    asked(ops, PurgeQueue("high", confirm="high"))
    assert perform(Actor(ops, "page"), PurgeQueue("high", confirm="high")).refusal == "asked"
    order = Order.objects.get()
    assert str(order.pk) in ticket_of(order)
