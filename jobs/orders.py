"""Orders to workers as rows: written with the action that asks, carried out by a loop of the monitor.

What becomes of one is decided here, purely: an order whose repetition does no
harm is sent again until it is answered, any other once at most.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import orjson
from django.utils.translation import gettext as _

from jobs.models import Action, Order, Worker
from jobs.models.people import Outcome
from jobs.perform import Settled, settle

# After so long nobody expects it to happen any more.
EXPIRES_AFTER = timedelta(minutes=5)
# An answer comes at once, or the worker was too busy to hear.
ANSWERED_WITHIN = timedelta(seconds=10)
AGAIN_AFTER = timedelta(seconds=3)
# A purge that was broken off goes on where it was; later the broker has forgotten what was set aside.
RESUMED_WITHIN = timedelta(hours=23)
# A worker that was told to leave finishes what it does, and may be at that for long.
LEAVES_WITHIN = timedelta(minutes=30)

SHUTDOWN, PURGE = "shutdown", "purge"
# What only sets something: twice is as good as once.
REPEATABLE = frozenset(
    {
        "rate_limit",
        "time_limit",
        "add_consumer",
        "cancel_consumer",
        "autoscale",
        "enable_events",
        "disable_events",
    }
)

Move = Literal["send", "wait"]


@dataclass(frozen=True)
class Verdict:
    """What an order has come to."""

    ok: bool
    text: str


def order(action: Action, worker: str | None, method: str, arguments: Mapping[str, Any]) -> Order:
    """Wish for one command, in the transaction at hand."""
    return Order.objects.create(
        cluster_id=action.cluster_id,
        action=action,
        worker=worker,
        method=method,
        arguments=orjson.dumps(arguments).decode(),
        asked_at=action.at,
        expires_at=action.at + EXPIRES_AFTER,
    )


def next_move(order: Order, worker: Worker | None, now: datetime) -> Move | Verdict:
    """What to do with an open order. `worker` is the newest incarnation of the one that it is for."""
    if order.worker is not None and (over := _worker_is_over(order, worker)):
        return over
    if order.sent_at is None:
        return "send" if now < order.expires_at else Verdict(False, _("Not sent: the broker was away."))
    if order.method == SHUTDOWN:
        return "wait" if now < order.sent_at + LEAVES_WITHIN else Verdict(False, _("It is still there."))
    if order.method == PURGE:
        return _again(order, now) if now < order.asked_at + RESUMED_WITHIN else Verdict(False, _lost())
    if order.method in REPEATABLE:
        if now >= order.expires_at:
            return Verdict(False, _("It did not answer."))
        return _again(order, now)
    if now >= order.sent_at + ANSWERED_WITHIN:
        return Verdict(False, _("It did not answer, and was not asked twice: it may have done it."))
    return "wait"


def _again(order: Order, now: datetime) -> Move:
    return "send" if order.sent_at is None or now >= order.sent_at + AGAIN_AFTER else "wait"


def _lost() -> str:
    return _(
        "It was broken off and not taken up again in time: what waited then may be deleted, "
        "and not every job of it is marked as revoked."
    )


def _worker_is_over(order: Order, worker: Worker | None) -> Verdict | None:
    """What the end of the incarnation that was meant says about the order."""
    if worker is not None and not _is_another(worker, order) and worker.offline_at is None:
        return None
    if order.method == SHUTDOWN and order.sent_at is not None:
        return Verdict(True, _("It has left."))
    if worker is not None and worker.offline_at is None:
        return Verdict(False, _("It was restarted meanwhile."))
    return Verdict(False, _("It has left meanwhile."))


def _is_another(worker: Worker, order: Order) -> bool:
    """Whether this is a later incarnation than the one that was meant; clocks of other machines tell less."""
    meant = _incarnation_meant(order)
    if meant is not None:
        return worker.pk > meant
    return worker.online_at is not None and worker.online_at > order.asked_at


def _incarnation_meant(order: Order) -> int | None:
    """The row of the worker that was seen when it was asked, as the action has it."""
    before = orjson.loads(order.action.before or "{}")
    meant = before.get("incarnation") if isinstance(before, dict) else None
    return meant if isinstance(meant, int) else None


def answered(order: Order, verdict: Verdict, worker: Worker | None) -> Verdict:
    """What a worker's answer is worth: Celery says "already disabled" of events that it goes on sending."""
    told_so = verdict.ok and order.method == "disable_events" and "already" in verdict.text
    if told_so and worker is not None and worker.events:
        return Verdict(False, _("It was started with events on (-E), which Celery can't switch off."))
    return verdict


def close(order: Order, verdict: Verdict, now: datetime | None = None) -> None:
    """Write down what it has come to."""
    order.answered_at, order.ok, order.answer = now or datetime.now(UTC), verdict.ok, verdict.text[:500]
    order.save(update_fields=["answered_at", "ok", "answer"])


def settle_actions(actions: Sequence[Action]) -> None:
    """Say what became of those whose orders are all answered."""
    for action in actions:
        orders = list(action.orders.order_by("pk"))
        if orders and all(one.answered_at is not None for one in orders):
            settle(action, outcome_of(orders))


def outcome_of(orders: Sequence[Order]) -> Settled:
    """Done if each did it; else what each said that did not."""
    refused = [one for one in orders if not one.ok]
    told = refused or list(orders)
    detail = "; ".join(f"{one.worker}: {one.answer}" if len(orders) > 1 else one.answer for one in told)
    return Settled(Outcome.FAILED if refused else Outcome.DONE, detail=detail)
