"""The shop's tasks: real work, and little of it."""

from __future__ import annotations

import csv
import hashlib
import math
import os
import signal
import time
import zlib
from datetime import timedelta
from pathlib import Path
from typing import Any

from celery import shared_task
from django.db.models import F
from django.utils import timezone

from workers.demo.echo import PartnerUnreachable, ask, folder
from workers.demo.fires import alight
from workers.demo.models import Delivery, Order, Product

KEPT_HOURS = 1
KEPT_REPORTS = 20
CHUNK = 500
CHUNKS_AT_ONCE = 100
# While the shop burns: what a slow supplier takes more, and how long a shelf is counted; seconds.
SLOWER, COUNTING = 2.0, 0.5
# A partner that is slow, or restarting with the producer, is asked again after 1, 2, 4 and 8 seconds.
PARTNER_FAULTS = (TimeoutError, PartnerUnreachable)
ASK_AGAIN: dict[str, Any] = {
    "autoretry_for": PARTNER_FAULTS,
    "max_retries": 4,
    "retry_backoff": 1,
    "retry_backoff_max": 8,
    "retry_jitter": False,
}


class HTTPStatusError(Exception):
    """A partner answered, and the answer was no."""


@shared_task
def process_valuation(product_id: int) -> dict[str, Any]:
    """Estimate what the stock of a product is worth."""
    product = Product.objects.get(pk=product_id)
    worth = valuation(product.price, product.stock, product.terms["volatility"])
    terms = {} if product_id % 3 == 0 and alight("failures") else product.terms
    currency = terms["currency"]
    Product.objects.filter(pk=product_id).update(value=worth, valued_at=timezone.now())
    return {"sku": product.sku, "value": worth, "currency": currency}


@shared_task(bind=True, **ASK_AGAIN)
def sync_product(self: Any, product_id: int) -> dict[str, Any]:
    """Fetch a product's price and stock from its supplier."""
    product = Product.objects.only("price", "stock").get(pk=product_id)
    if alight("slow"):
        time.sleep(SLOWER)
    offer = {"price": product.price, "stock": max(product.stock, 20)}
    _, told = ask("feeds", product_id, self.request.retries, offer)
    Product.objects.filter(pk=product_id).update(
        price=told["price"], stock=told["stock"], synced_at=timezone.now()
    )
    return {"product": product_id, **told}


@shared_task(bind=True, **ASK_AGAIN)
def send_webhook(self: Any, event: str, order_id: int, subscriber: int) -> int:
    """Tell a subscriber what happened to an order."""
    status, _ = ask("hooks", subscriber, self.request.retries, {"event": event, "order": order_id})
    if status != 200:
        raise HTTPStatusError(f"subscriber {subscriber} answered {status} Gone to {event}")
    Delivery.objects.create(subscriber=subscriber, event=event, status=status, delivered_at=timezone.now())
    return status


@shared_task
def process_order(order_id: int) -> int:
    """Take an order's goods off the shelf. First link of the order chain."""
    order = Order.objects.get(pk=order_id)
    Product.objects.filter(pk=order.product_id).update(stock=F("stock") - order.quantity)
    Order.objects.filter(pk=order_id).update(state=Order.State.RESERVED)
    return order_id


@shared_task
def charge_order(order_id: int) -> int:
    """Sign the payment of an order."""
    order = Order.objects.get(pk=order_id)
    text = f"{order.pk}:{order.total}".encode()
    signature = hashlib.pbkdf2_hmac("sha256", text, b"night", 2000).hex()
    Order.objects.filter(pk=order_id).update(state=Order.State.PAID, signature=signature)
    return order_id


@shared_task
def confirm_order(order_id: int, subscriber: int) -> int:
    """Close an order and tell the subscriber who waits for it. Last link of the chain."""
    Order.objects.filter(pk=order_id).update(state=Order.State.CONFIRMED)
    send_webhook.delay(event="order.paid", order_id=order_id, subscriber=subscriber)
    return order_id


@shared_task(bind=True, **ASK_AGAIN)
def generate_report(self: Any, kind: str) -> str:
    """Write the catalogue into a CSV file, shelf by shelf; says how far it is."""
    products = list(
        Product.objects.order_by("pk").values_list("pk", "sku", "name", "price", "stock", "value")
    )
    shelves = [products[start : start + 40] for start in range(0, len(products), 40)]
    path = folder() / f"report-{kind}-{self.request.id}.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        for number, shelf in enumerate(shelves, 1):
            ask("feeds", shelf[0][0], 1, {"kind": kind, "shelf": number})
            writer.writerows(shelf)
            self.progress(number, len(shelves), shelf=shelf[0][1])
    _keep_latest(folder(), KEPT_REPORTS)
    return path.name


@shared_task
def resize_image(product_id: int, width: int) -> dict[str, int]:
    """Scale a product's picture to a width; the header of the gallery's chord."""
    pixels = scaled(picture(product_id), width)
    return {"width": width, "crc": zlib.crc32(pixels)}


@shared_task
def publish_gallery(images: list[dict[str, int]], product_id: int) -> int:
    """Put the pictures of all widths on the product's page; the body of the chord."""
    Product.objects.filter(pk=product_id).update(gallery=sorted(images, key=lambda image: image["width"]))
    return len(images)


@shared_task(bind=True)
def cleanup_expired(self: Any) -> dict[str, int]:
    """Remove deliveries and orders that nobody asks about any more, a few at a time."""
    before = timezone.now() - timedelta(hours=KEPT_HOURS)
    deliveries = _delete_oldest(Delivery.objects.filter(delivered_at__lt=before).order_by("delivered_at"))
    self.progress(1, 2)
    orders = _delete_oldest(Order.objects.filter(placed_at__lt=before).order_by("placed_at"))
    return {"deliveries": deliveries, "orders": orders}


@shared_task
def count_stock(shelf: int) -> int:
    """Count a shelf by hand, for half a second; `demo --burn` makes many of them."""
    time.sleep(COUNTING)
    return shelf


@shared_task
def crash() -> None:
    """Kill the process that runs it, as a fault of a library would; `demo --burn poison` makes a few."""
    os.kill(os.getpid(), signal.SIGKILL)


def valuation(price: int, stock: int, volatility: float) -> int:
    """What `stock` pieces are worth, in cents: the mean over a year of prices."""
    days = range(365)
    prices = (price * (1 + volatility * math.sin(day / 58)) * math.exp(-day / 900) for day in days)
    return round(max(stock, 0) * sum(prices) / len(days))


def picture(product_id: int, size: int = 96) -> list[bytes]:
    """A grey picture of a product, by rows."""
    return [bytes((x * product_id + y * 7) % 256 for x in range(size)) for y in range(size)]


def scaled(rows: list[bytes], width: int) -> bytes:
    """The picture at another width, by the nearest pixel."""
    size = len(rows)
    places = [place * size // width for place in range(width)]
    return b"".join(bytes(rows[y][x] for x in places) for y in places)


def _delete_oldest(expired: Any) -> int:
    """Delete in chunks, so that the database is never held for long; the rest waits for the next time."""
    deleted = 0
    for _ in range(CHUNKS_AT_ONCE):
        chunk = list(expired.values_list("pk", flat=True)[:CHUNK])
        if not chunk:
            break
        deleted += expired.model.objects.filter(pk__in=chunk).delete()[0]
    return deleted


def _keep_latest(path: Path, count: int) -> None:
    """Remove all but the latest `count` reports."""
    reports = sorted(path.glob("report-*.csv"), key=lambda file: file.stat().st_mtime, reverse=True)
    for old in reports[count:]:
        old.unlink(missing_ok=True)
