from __future__ import annotations

import random
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand
from django.utils import timezone

from workers.app import app
from workers.brokers import Broker, connect
from workers.demo.catalogue import seed_catalogue
from workers.demo.echo import folder, partners_open
from workers.demo.producer import Customers
from workers.demo.schedules import seed_schedules
from workers.stopping import StopSignal

# The producer waits for a broker by itself; each publish fails soon.
PUBLISH_POLICY = {"max_retries": 1, "interval_start": 0, "interval_step": 0.2, "interval_max": 0.2}


class Command(BaseCommand):
    help = "Run the demo shop: its catalogue, its schedules, its partners and its customers."

    def handle(self, *args: Any, **options: Any) -> None:
        stopping = StopSignal()
        app.conf.task_publish_retry_policy = PUBLISH_POLICY
        seed_catalogue()
        seed_schedules(timezone.now())
        chance = random.Random()  # noqa: S311 whims, not secrets
        broker = connect(settings.CELERY_BROKER_URL)
        customers = Customers(lambda: waiting(broker), settings.DEMO_JOBS_PER_HOUR, chance)
        with partners_open(folder()) as address:
            self.stdout.write(
                f"the shop is open: {settings.DEMO_JOBS_PER_HOUR:,} jobs an hour, partners on {address}"
            )
            customers.run(stopping)
        self.stdout.write("the shop is closed")


def waiting(broker: Broker) -> int:
    """How many jobs wait, over all declared queues."""
    return sum(queue.depth for queue in broker.sample(list(settings.QUEUES)).values())
