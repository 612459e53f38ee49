from __future__ import annotations

from django.core import mail
from django.test import TestCase

from tests.guide.shop.models import Order
from tests.guide.shop.tasks import charge
from workers.app import app
from workers.enqueue import enqueue


class ChargeTest(TestCase):
    def setUp(self) -> None:
        app.conf.task_always_eager = True
        self.addCleanup(setattr, app.conf, "task_always_eager", False)

    def test_an_order_is_paid_and_its_receipt_is_sent(self) -> None:
        order = Order.objects.create(email="ana@example.com", total="12.50")
        with self.captureOnCommitCallbacks(execute=True):
            enqueue(charge, order.pk)
        order.refresh_from_db()
        assert order.paid_at is not None
        assert [sent.to for sent in mail.outbox] == [["ana@example.com"]]
