"""Carries out orders to workers, and says what became of the actions that asked for them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

import orjson
from django.db.models import F
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

import nightdesk
from jobs.models import Order, Worker
from jobs.models.people import Outcome
from jobs.orders import PURGE, SHUTDOWN, Verdict, answered, close, next_move, settle_actions
from jobs.perform import Settled, settle
from jobs.store.turns import written
from nightdesk.recorder import delivery_number, installed
from workers.brokers import Broker, Waiting
from workers.control import Control

# What is left of a round waits half a second.
MOST_ORDERS = 200
MOST_WORKERS_AT_ONCE = 50


def carry_out(control: Control, now: datetime) -> bool:
    """One round over the open orders; whether anything moved. Raises BrokerUnreachable."""
    orders = _open_orders()
    workers = _newest({order.worker for order in orders if order.worker is not None})
    moves = [(order, next_move(order, workers.get(order.worker or ""), now)) for order in orders]
    for order, move in moves:
        if isinstance(move, Verdict):
            conclude(order, move, now)
    to_send = [order for order, move in moves if move == "send"]
    if to_send:
        # Before anything is marked as sent: nothing is, while the broker is away.
        control.broker.latency()
        _send(control, to_send, workers, now)
    return any(move != "wait" for _, move in moves)


def _open_orders() -> list[Order]:
    """What nobody has answered; what is not sent first, since some answers come half an hour later."""
    unanswered = Order.objects.filter(answered_at=None).select_related("action")
    return list(unanswered.order_by(F("sent_at").asc(nulls_first=True), "pk")[:MOST_ORDERS])


def _newest(names: Iterable[str]) -> dict[str, Worker]:
    """The newest incarnation of each name."""
    rows = Worker.objects.filter(name__in=list(names)).order_by("seen_at", "pk")
    return {worker.name: worker for worker in rows}


def _send(control: Control, orders: Sequence[Order], workers: dict[str, Worker], now: datetime) -> None:
    for batch in batches([order for order in orders if order.method != PURGE]):
        _mark_sent(batch, now)
        _tell(control, batch, workers)
    # Last, since one may be broken off again and again.
    for order in orders:
        if order.method == PURGE:
            _mark_sent([order], now)
            purge(control.broker, order, now)


def batches(orders: Sequence[Order]) -> list[list[Order]]:
    """Orders that one message can carry: the same command to several workers."""
    alike: dict[tuple[str, str], list[Order]] = defaultdict(list)
    for order in orders:
        alike[order.method, order.arguments].append(order)
    return [
        same[first : first + MOST_WORKERS_AT_ONCE]
        for same in alike.values()
        for first in range(0, len(same), MOST_WORKERS_AT_ONCE)
    ]


def _mark_sent(orders: Sequence[Order], now: datetime) -> None:
    """Before it is sent: what must not happen twice is not repeated after a death in between."""
    with written():
        Order.objects.filter(pk__in=[order.pk for order in orders]).update(sent_at=now)
        for order in orders:
            settle(order.action, Settled(Outcome.SENT))


def _tell(control: Control, orders: Sequence[Order], workers: dict[str, Worker]) -> None:
    method, arguments = orders[0].method, orjson.loads(orders[0].arguments)
    names = [order.worker for order in orders if order.worker is not None]
    if method == SHUTDOWN:
        control.cast(method, arguments, names)
        return
    answers = control.tell(method, arguments, names)
    for order in orders:
        if order.worker is not None and (said := answers.get(order.worker)):
            verdict = answered(order, Verdict(said.ok, said.text), workers.get(order.worker))
            conclude(order, verdict, datetime.now(UTC))


def conclude(order: Order, verdict: Verdict, now: datetime) -> None:
    """Write down what an order has come to, and its action with it."""
    with written():
        close(order, verdict, now)
        settle_actions([order.action])


# Purging


def purge(broker: Broker, order: Order, now: datetime) -> None:
    """Delete what waits in a queue, once however often it is tried, and tell the record which jobs went.

    After its time it isn't begun any more, but one that was begun goes on.
    """
    queue = orjson.loads(order.arguments)["queue"]
    count = broker.purge(queue, ticket_of(order), _tell_gone, begin=now < order.expires_at)
    if count is None:
        conclude(order, Verdict(False, _("It did not answer: nothing was deleted.")), now)
        return
    words = ngettext("%(count)s message deleted.", "%(count)s messages deleted.", count) % {"count": count}
    with written():
        close(order, Verdict(True, words))
        settle(order.action, Settled(Outcome.DONE, after={"deleted": count}, detail=words, count=count))


def ticket_of(order: Order) -> str:
    """What no other order has, also of another database over the same broker."""
    return f"{order.pk}-{int(order.asked_at.timestamp() * 1_000_000)}"


def _tell_gone(gone: Sequence[Waiting]) -> None:
    """The jobs of these messages never run: a person has revoked them."""
    for message in gone:
        nightdesk.emit(
            "task-revoked",
            uuid=message.task_id,
            name=message.task,
            retries=message.retries,
            delivery=delivery_number(),
            terminated=False,
            expired=False,
            hostname="",
        )
    if (recorder := installed()) is not None:
        recorder.drain()
