"""What becomes of an order to a worker: decided purely, and what is refused from the start."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from django.contrib.auth.models import User

from jobs import orders
from jobs.models import Action, Order, Worker
from jobs.orders import Verdict, answered, next_move
from jobs.perform import Actor, perform
from tests.setups import SETUP, TASKS
from workers.commands import workers as commands
from workers.monitor import orders as loop

NOW = datetime(2026, 11, 21, 3, 0, tzinfo=UTC)


def worker(pool: str = "prefork", name: str = "w@h", **facts: Any) -> Worker:
    """A worker that is online."""
    now = datetime.now(UTC)
    setup = {**SETUP, "tasks": TASKS, "pool": pool, **facts.pop("setup", {})}
    known = {"producer": name, "slots": 2, "queues": "low", "online_at": now, "seen_at": now, **facts}
    return Worker.objects.create(name=name, setup=orjson.dumps(setup).decode(), **known)


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def of(method: str, asked: float = 1.0, sent: float | None = None, meant: int | None = None) -> Order:
    """An order that was asked for, and sent, so many seconds ago; `meant` is the row of the incarnation."""
    before = None if meant is None else orjson.dumps({"incarnation": meant}).decode()
    return Order(
        action=Action(pk=1, before=before),
        worker=None if method == orders.PURGE else "w@h",
        method=method,
        asked_at=ago(asked),
        expires_at=ago(asked) + orders.EXPIRES_AFTER,
        sent_at=None if sent is None else ago(sent),
    )


def there(since: float = 900.0, *, left: float | None = None, **facts: Any) -> Worker:
    offline = None if left is None else ago(left)
    return Worker(name="w@h", online_at=ago(since), seen_at=ago(0), offline_at=offline, **facts)


@pytest.mark.parametrize(
    ("order", "move"),
    [
        (of("pool_grow"), "send"),
        (of("pool_grow", sent=1), "wait"),
        (of("rate_limit", asked=9, sent=4), "send"),
        (of("rate_limit", asked=9, sent=1), "wait"),
        (of("shutdown", asked=600, sent=599), "wait"),
        (of(orders.PURGE, asked=4_000, sent=3_900), "send"),
    ],
)
def test_an_open_order_is_sent_and_repeated_only_if_that_does_no_harm(order: Order, move: str) -> None:
    assert next_move(order, there(), NOW) == move


@pytest.mark.parametrize(
    ("order", "words"),
    [
        (of("pool_grow", asked=301), "Not sent"),
        (of("pool_grow", asked=60, sent=11), "not asked twice"),
        (of("rate_limit", asked=301, sent=1), "did not answer"),
        (of("shutdown", asked=3600, sent=3599), "still there"),
        (of(orders.PURGE, asked=86_000, sent=4), "not taken up again"),
    ],
)
def test_an_order_that_is_not_confirmed_has_failed_in_the_end(order: Order, words: str) -> None:
    verdict = next_move(order, there(since=9_000), NOW)
    assert isinstance(verdict, Verdict)
    assert (verdict.ok, words in verdict.text) == (False, True)


@pytest.mark.parametrize("method", ["pool_grow", "rate_limit", "shutdown"])
def test_the_next_incarnation_does_not_get_what_was_meant_for_the_last_one(method: str) -> None:
    verdict = next_move(of(method, asked=30), there(since=10), NOW)
    assert verdict == Verdict(False, "It was restarted meanwhile.")


def test_the_incarnation_that_was_meant_gets_its_order_whatever_its_clock_says() -> None:
    ahead = there(since=-60, pk=7)
    assert next_move(of("pool_grow", asked=1, meant=7), ahead, NOW) == "send"


def test_a_later_incarnation_whose_clock_is_behind_does_not_get_the_order() -> None:
    verdict = next_move(of("pool_grow", asked=1, meant=7), there(since=60, pk=8), NOW)
    assert verdict == Verdict(False, "It was restarted meanwhile.")


@pytest.mark.parametrize("worker", [there(left=1), there(since=2), None])
def test_a_worker_that_was_told_to_leave_has_left_when_it_is_gone_or_new(worker: Worker | None) -> None:
    assert next_move(of("shutdown", asked=30, sent=29), worker, NOW) == Verdict(True, "It has left.")


def test_a_worker_that_says_its_events_are_off_but_sends_them_is_not_believed() -> None:
    said = Verdict(True, "task events already disabled")
    assert not answered(of("disable_events"), said, there(events=True)).ok
    assert answered(of("disable_events"), said, there(events=False)).ok


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("pool", "setup", "command"),
    [
        ("solo", {}, commands.Grow("w@h")),
        ("threads", {}, commands.Shrink("w@h")),
        ("prefork", {"autoscale": True}, commands.Grow("w@h")),
        ("prefork", {"autoscale": False}, commands.Autoscale("w@h", least=1, most=2)),
        ("threads", {}, commands.RestartPool("w@h")),
        ("prefork", {"pool_restarts": False}, commands.RestartPool("w@h")),
        ("solo", {}, commands.TimeLimits("w@h", task="t", hard=2.0)),
        ("gevent", {}, commands.TimeLimits("w@h", task="t", soft=2.0)),
    ],
)
def test_what_a_pool_can_not_do_is_refused(ops: User, pool: str, setup: dict[str, Any], command: Any) -> None:
    worker(pool, setup=setup)
    action = perform(Actor(ops, "page"), command)
    assert (action.refusal, Order.objects.count()) == ("pool", 0), action.detail


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("command", "code"),
    [
        (commands.Grow("w@h", by=0), "number"),
        (commands.Shrink("w@h", by=2), "number"),
        (commands.Autoscale("w@h", least=3, most=2), "number"),
        (commands.AddConsumer("w@h", queue=""), "queue"),
        (commands.CancelConsumer("w@h", queue="high"), "queue"),
        (commands.RateLimit("w@h", task="t", rate="soon"), "rate"),
        (commands.RateLimit("w@h", task="", rate="1/s"), "task"),
        (commands.TimeLimits("w@h", task="t", soft=3.0, hard=2.0), "limits"),
        (commands.TimeLimits("w@h", task="t", hard=-1.0), "limits"),
        (commands.Shutdown("x@h"), "missing"),
    ],
)
def test_what_makes_no_sense_is_refused(ops: User, command: Any, code: str) -> None:
    worker()
    assert perform(Actor(ops, "page"), command).refusal == code
    assert not Order.objects.exists()


@pytest.mark.django_db
def test_a_worker_that_is_not_there_gets_no_orders(ops: User) -> None:
    worker(seen_at=datetime.now(UTC) - timedelta(seconds=60))
    assert perform(Actor(ops, "page"), commands.Shutdown("w@h")).refusal == "offline"


def test_orders_that_wait_for_their_answer_do_not_hold_up_a_new_one(
    ops: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "MOST_ORDERS", 3)
    now = datetime.now(UTC)
    action = Action.objects.create(
        at=now, user=ops, who="ops", via="page", command="x", target_kind="worker", target="w"
    )
    wish = {"action": action, "worker": "w", "asked_at": now, "expires_at": now}
    for _ in range(5):
        Order.objects.create(method="shutdown", sent_at=now, **wish)
    new = Order.objects.create(method="pool_grow", **wish)
    assert loop._open_orders()[0] == new
