from __future__ import annotations

from datetime import timedelta

from celery import chain, chord
from django.utils import timezone
from django_celery_beat.models import IntervalSchedule, PeriodicTask

from tests.guide.shop.models import Order
from tests.guide.shop.tasks import (
    add_up,
    archive,
    charge,
    count_visit,
    export_orders,
    rebuild_index,
    remind,
    remind_all,
    ship,
    sum_of,
    sync_shop,
)
from workers.enqueue import EnqueuedJob, enqueue, enqueue_many, using


def saw(page: str) -> None:
    enqueue(count_visit, page)


def charge_and_ship(order: Order) -> EnqueuedJob:
    steps = chain(charge.si(order.pk), ship.si(order.pk))
    return using(key=f"ship-{order.pk}", about=order).enqueue(steps)


def remind_everybody() -> list[EnqueuedJob]:
    unpaid = Order.objects.filter(paid_at=None).values_list("pk", flat=True)
    return using(queue="low", tags=["reminder"]).enqueue_many(remind, [(pk,) for pk in unpaid])


def add_up_orders(parts: list[list[int]]) -> EnqueuedJob:
    return enqueue(chord([sum_of.s(part) for part in parts], add_up.s()))


def remind_tomorrow(order: Order) -> EnqueuedJob:
    return using(delay=timedelta(days=1), key=f"remind-{order.pk}", about=order).enqueue(remind, order.pk)


def remind_at_eight(order: Order) -> EnqueuedJob:
    eight = timezone.localtime().replace(hour=8, minute=0, second=0) + timedelta(days=1)
    return using(eta=eight, expires=eight + timedelta(hours=4)).enqueue(remind, order.pk)


def remind_every_hour() -> None:
    hourly, _ = IntervalSchedule.objects.get_or_create(every=1, period=IntervalSchedule.HOURS)
    PeriodicTask.objects.update_or_create(
        name="remind", defaults={"task": remind_all.name, "interval": hourly, "queue": "low"}
    )


def charge_first(order: Order) -> EnqueuedJob:
    return using(queue="high", priority=9).enqueue(charge, order.pk)


def rebuild() -> EnqueuedJob:
    return using(key="rebuild", key_for=timedelta(minutes=5)).enqueue(rebuild_index)


def sync(shops: list[str]) -> list[EnqueuedJob]:
    return enqueue_many(sync_shop, [(shop,) for shop in shops])


def archive_old() -> EnqueuedJob:
    old = timezone.now() - timedelta(days=365)
    return enqueue(archive, list(Order.objects.filter(paid_at__lt=old).values_list("pk", flat=True)))


async def export() -> EnqueuedJob:
    return await using(queue="low").aenqueue(export_orders)
