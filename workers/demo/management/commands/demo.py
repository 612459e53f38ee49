from __future__ import annotations

import random
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone
from kombu.exceptions import OperationalError

from workers.app import app
from workers.brokers import Broker, BrokerUnreachable, connect
from workers.demo.burning import BURNS, CantBurn
from workers.demo.catalogue import seed_catalogue
from workers.demo.echo import folder, partners_open
from workers.demo.producer import Customers
from workers.demo.schedules import seed_schedules
from workers.stopping import StopSignal

# A fire is something to look at, and then it is over.
LONGEST_FIRE = 60
# The producer waits for a broker by itself; each publish fails soon.
PUBLISH_POLICY = {"max_retries": 1, "interval_start": 0, "interval_step": 0.2, "interval_max": 0.2}


class Command(BaseCommand):
    help = (
        "Run the demo shop: its catalogue, its schedules, its partners and its customers; or set it on fire."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--burn", choices=sorted(BURNS), help="set the shop, which runs already, on fire")
        parser.add_argument("--minutes", type=float, default=5.0, help="how long it burns (default: 5)")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["burn"]:
            self._burn(options["burn"], options["minutes"])
        else:
            self._open()

    def _burn(self, what: str, minutes: float) -> None:
        if not 0 < minutes <= LONGEST_FIRE:
            raise CommandError(f"--minutes is more than 0, and at most {LONGEST_FIRE}")
        stopping = StopSignal()
        try:
            with BURNS[what](minutes * 60) as said:
                self.stdout.write(f"{what}: {said}. It ends in {minutes:g} minutes, or with Ctrl-C.")
                self.stdout.flush()
                stopping.wait(minutes * 60)
        except (CantBurn, BrokerUnreachable, OperationalError) as fault:
            raise CommandError(f"{what}: {fault}") from fault
        self.stdout.write(f"{what}: the fire is out")

    def _open(self) -> None:
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
