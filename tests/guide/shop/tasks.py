from __future__ import annotations

from decimal import Decimal

from celery import shared_task
from django.core.mail import send_mail
from django.db import transaction
from django.db.models import F, Sum
from django.utils import timezone
from django_tasks import task

from tests.guide.shop import bank
from tests.guide.shop.models import Order, Visit
from workers.enqueue import enqueue, enqueue_many, using
from workers.retries import Permanent


@shared_task(bind=True, transient=(ConnectionError, TimeoutError), backoff=1, backoff_cap=300, max_retries=8)
def charge(self, order_id: int) -> str:
    order = Order.objects.get(pk=order_id)
    self.step("asking the bank", of=2)
    try:
        receipt = bank.charge(order.total, key=f"order-{order.pk}")
    except bank.Declined as fault:
        raise Permanent(str(fault)) from fault
    self.step("writing it down", of=2)
    with transaction.atomic():
        if Order.objects.filter(pk=order_id, paid_at=None).update(paid_at=timezone.now(), receipt=receipt):
            using(about=order).enqueue(send_receipt, order_id)
    return receipt


@shared_task(transient=(OSError,), max_retries=5)
def send_receipt(order_id: int) -> None:
    order = Order.objects.get(pk=order_id)
    send_mail("Your receipt", order.receipt, None, [order.email])


@shared_task(ignore_result=True)
def count_visit(page: str) -> None:
    Visit.objects.get_or_create(page=page)
    Visit.objects.filter(page=page).update(count=F("count") + 1)


@shared_task
def export_orders() -> dict[str, int]:
    return {"orders": Order.objects.count()}


@shared_task
def ship(order_id: int) -> int:
    Order.objects.filter(pk=order_id, shipped_at=None).update(shipped_at=timezone.now())
    return order_id


@shared_task
def remind(order_id: int) -> None:
    order = Order.objects.get(pk=order_id)
    if order.paid_at is None:
        send_mail("Still interested?", f"{order} waits for you.", None, [order.email])


@shared_task(soft_time_limit=240, time_limit=300)
def remind_all() -> int:
    unpaid = Order.objects.filter(paid_at=None).values_list("pk", flat=True)
    return len(enqueue_many(remind, [(pk,) for pk in unpaid]))


@shared_task
def sum_of(order_ids: list[int]) -> str:
    paid = Order.objects.filter(pk__in=order_ids).exclude(paid_at=None)
    return str(paid.aggregate(sum=Sum("total"))["sum"] or 0)


@shared_task
def add_up(sums: list[str]) -> str:
    return str(sum(map(Decimal, sums)))


@shared_task(concurrency=1)
def rebuild_index() -> int:
    return Order.objects.count()


@shared_task(concurrency=1, concurrency_key=lambda shop: shop, rate="100/m")
def sync_shop(shop: str) -> str:
    return shop


@shared_task(bind=True)
def archive(self, order_ids: list[int]) -> int:
    done = 0
    for order_id in order_ids:
        if self.cancelled():
            break
        Order.objects.filter(pk=order_id).delete()
        done += 1
        self.progress(done, len(order_ids), order=order_id)
    return done


@task(queue_name="low", priority=10)
def unpaid_orders(least: int) -> int:
    return Order.objects.filter(paid_at=None, total__gte=least).count()


@shared_task
def wait_for_another() -> dict[str, int]:
    return enqueue(export_orders).result.get(timeout=30)


@shared_task(transient=(ConnectionError,), backoff=1)
def charge_forgetfully(order_id: int) -> None:
    order = Order.objects.get(pk=order_id)
    bank.charge(order.total, key=str(timezone.now()))
    send_mail("Your receipt", order.receipt, None, [order.email])
