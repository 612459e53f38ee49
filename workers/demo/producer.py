"""The shop's customers: they order in waves, and wait when the shop is behind."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from typing import Any, Protocol

from celery import chain, chord
from django.db import DatabaseError, close_old_connections
from django.utils import timezone
from kombu.exceptions import OperationalError

from workers.brokers import BrokerUnreachable
from workers.demo import tasks
from workers.demo.models import Order, Product
from workers.demo.partners import PRODUCTS, SUBSCRIBERS
from workers.demo.waves import rate

logger = logging.getLogger(__name__)

TICK = 0.2
DEPTH_INTERVAL = 2.0
# Above this many seconds of usual work in the queues, the customers wait.
BACKLOG = 30.0
# What was missed while the broker was away, or the machine asleep, is not made up for beyond this.
OWED = 5.0
WIDTHS = (48, 64, 96, 128, 160)
EVENTS = ("order.shipped", "stock.changed", "price.changed", "refund.made")


class Stopping(Protocol):
    """What tells that it is time to stop, after at most so many seconds."""

    def wait(self, timeout: float) -> bool: ...


def value_product(chance: random.Random) -> None:
    tasks.process_valuation.delay(chance.randint(1, PRODUCTS))


def ask_supplier(chance: random.Random) -> None:
    tasks.sync_product.delay(chance.randint(1, PRODUCTS))


def tell_subscriber(chance: random.Random) -> None:
    tasks.send_webhook.delay(
        event=chance.choice(EVENTS),
        order_id=chance.randint(1, 99_999),
        subscriber=chance.randint(1, SUBSCRIBERS),
    )


def place_order(chance: random.Random) -> None:
    """A chain of three, and a webhook at its end."""
    product, quantity = chance.randint(1, PRODUCTS), chance.randint(1, 3)
    price = Product.objects.values_list("price", flat=True).get(pk=product)
    order = Order.objects.create(
        product_id=product, quantity=quantity, total=price * quantity, placed_at=timezone.now()
    )
    links: tuple[Any, ...] = (
        tasks.process_order.s(order.pk),
        tasks.charge_order.s(),
        tasks.confirm_order.s(subscriber=chance.randint(1, SUBSCRIBERS)),
    )
    chain(*links).apply_async()


def show_product(chance: random.Random) -> None:
    """A chord: a picture in each width, then the gallery."""
    product = chance.randint(1, PRODUCTS)
    chord([tasks.resize_image.s(product, width) for width in WIDTHS])(
        tasks.publish_gallery.s(product_id=product)
    )


def order_report(chance: random.Random) -> None:
    tasks.generate_report.delay(kind=chance.choice(("sales", "returns", "stock")))


# What a customer does: (how often, how many jobs that makes).
ACTIONS: dict[Callable[[random.Random], None], tuple[float, int]] = {
    value_product: (460, 1),
    tell_subscriber: (380, 1),
    ask_supplier: (200, 1),
    place_order: (40, 4),
    show_product: (5, 1 + len(WIDTHS)),
    order_report: (2, 1),
}


class Customers:
    """What is owed to the shop's busy hours, paid by publishing.

    `waiting` tells how many jobs wait in the queues, or raises BrokerUnreachable.
    """

    def __init__(self, waiting: Callable[[], int], jobs_per_hour: int, chance: random.Random) -> None:
        self._waiting = waiting
        self._jobs_per_hour = jobs_per_hour
        self._chance = chance
        self._next = self._choose()
        self._owed = 0.0
        self._behind = False
        self._trouble: str | None = None

    def run(self, stopping: Stopping) -> None:
        """Publish until `stopping` says so. A broker or database that is away is waited for."""
        last, depth_due = time.monotonic(), 0.0
        while not stopping.wait(TICK):
            now = time.monotonic()
            self.owe(now - last)
            last = now
            if now >= depth_due or self._trouble:
                depth_due = now + DEPTH_INTERVAL
                self.look_at_the_queues()
            if not self._behind and not self._trouble:
                self.pay()
            close_old_connections()

    def owe(self, seconds: float) -> None:
        """Time passes: more jobs are due, up to a bound."""
        usual = self._jobs_per_hour / 3600
        self._owed = min(self._owed + rate(time.time(), self._jobs_per_hour) * seconds, OWED * usual + 6)

    def look_at_the_queues(self) -> None:
        """Find out whether the workers keep up, and whether the broker is there."""
        try:
            waiting = self._waiting()
        except BrokerUnreachable as error:
            self._fail(f"the broker is away, the customers wait: {error}")
            return
        self._recover()
        bound = max(100.0, BACKLOG * self._jobs_per_hour / 3600)
        # Half way down before it goes on, or it would stop and go with every job.
        self._behind = waiting > (bound / 2 if self._behind else bound)

    def pay(self) -> None:
        """Do what is due; an action that could not be published stays the next one."""
        while self._owed >= 1:
            try:
                self._next(self._chance)
            except (OperationalError, DatabaseError, OSError) as error:
                self._fail(f"a job can't be published, the customers wait: {error}")
                return
            self._owed -= ACTIONS[self._next][1]
            self._next = self._choose()

    def _choose(self) -> Callable[[random.Random], None]:
        weights = [often for often, _ in ACTIONS.values()]
        return self._chance.choices(list(ACTIONS), weights)[0]

    def _fail(self, message: str) -> None:
        if self._trouble is None:
            logger.warning(message)
        self._trouble = message

    def _recover(self) -> None:
        if self._trouble is not None:
            logger.warning("the customers are back")
        self._trouble = None
