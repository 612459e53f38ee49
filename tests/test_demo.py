from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from celery.exceptions import Retry
from django.conf import settings
from django.utils import timezone
from django_celery_beat.models import PeriodicTask
from django_celery_results.models import TaskResult

from tests.harness import Installation, RedisServer, eventually
from workers.amqp import collecting
from workers.app import app
from workers.brokers import BrokerUnreachable, connect
from workers.demo import catalogue, echo, partners, producer, schedules, tasks, waves
from workers.demo.models import Delivery, Order, Product
from workers.demo.routes import WISHES, routes
from workers.scheduler import problem

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


@pytest.fixture
def shop(db: None) -> None:
    catalogue.seed_catalogue()


@pytest.fixture
def partners_there() -> Iterator[None]:
    with echo.partners_open(echo.folder()):
        yield


def test_the_catalogue_is_seeded_once(db: None) -> None:
    catalogue.seed_catalogue()
    Product.objects.filter(pk=1).update(name="Renamed lamp")
    catalogue.seed_catalogue()

    assert Product.objects.count() == partners.PRODUCTS
    assert Product.objects.get(pk=1).name == "Renamed lamp"


def test_a_product_without_a_currency_can_t_be_valued(shop: None) -> None:
    assert tasks.process_valuation(1)["value"] > 0
    with pytest.raises(KeyError, match="currency"):
        tasks.process_valuation(partners.WITHOUT_CURRENCY)


def test_a_subscriber_that_is_gone_fails_the_webhook(db: None, partners_there: None) -> None:
    assert tasks.send_webhook("order.paid", order_id=1, subscriber=1) == 200
    with pytest.raises(tasks.HTTPStatusError, match="410"):
        tasks.send_webhook("order.paid", order_id=1, subscriber=partners.GONE)
    assert Delivery.objects.count() == 1


def test_a_slow_partner_is_asked_again(shop: None, partners_there: None) -> None:
    slow = min(partners.FEED_SLOW_AT_FIRST)
    with pytest.raises((Retry, TimeoutError)):
        tasks.sync_product(slow)
    assert tasks.sync_product(1)["product"] == 1


def test_partners_that_have_closed_are_unreachable() -> None:
    with echo.partners_open(echo.folder()):
        pass
    with pytest.raises(echo.PartnerUnreachable):
        echo.ask("hooks", 1, 0, {})


def test_about_three_in_a_thousand_jobs_fail_for_good() -> None:
    usual = {action: often * jobs for action, (often, jobs) in producer.ACTIONS.items()}
    webhooks = usual[producer.tell_subscriber] + producer.ACTIONS[producer.place_order][0]
    lost = 2 / partners.SUBSCRIBERS * webhooks + usual[producer.value_product] / partners.PRODUCTS

    assert 0.002 < lost / sum(usual.values()) < 0.004
    assert partners.subscriber_answer(partners.NEVER_ANSWERS, attempt=3).delay > partners.PATIENCE
    assert all(
        partners.subscriber_answer(n, attempt=1).delay < partners.PATIENCE for n in partners.SLOW_AT_FIRST
    )


def test_reports_are_written_and_only_the_latest_are_kept(shop: None, partners_there: None) -> None:
    for number in range(tasks.KEPT_REPORTS + 3):
        (echo.folder() / f"report-old-{number}.csv").touch()

    name = tasks.generate_report("stock")

    rows = (echo.folder() / name).read_text().splitlines()
    assert len(rows) == partners.PRODUCTS
    assert len(list(echo.folder().glob("report-*.csv"))) == tasks.KEPT_REPORTS


def test_cleaning_up_removes_what_is_old_and_nothing_else(shop: None) -> None:
    old, young = timezone.now() - timedelta(hours=2), timezone.now()
    for moment in (old, young):
        Delivery.objects.bulk_create(
            [Delivery(subscriber=n, event="e", status=200, delivered_at=moment) for n in range(700)]
        )
        Order.objects.create(product_id=1, quantity=1, total=1, placed_at=moment)

    assert tasks.cleanup_expired() == {"deliveries": 700, "orders": 1}
    assert (Delivery.objects.count(), Order.objects.count()) == (700, 1)


def test_schedules_of_several_kinds_are_seeded_once_and_can_run(db: None) -> None:
    schedules.seed_schedules(NOW)
    schedules.seed_schedules(NOW + timedelta(days=1))

    seeded = list(PeriodicTask.objects.filter(name__startswith="demo: "))
    assert [task.name for task in seeded if problem(task)] == []
    kinds = {kind for task in seeded for kind in ("interval", "crontab", "clocked") if getattr(task, kind)}
    assert kinds == {"interval", "crontab", "clocked"}
    assert len({task.name for task in seeded}) == len(seeded) == 8


def test_schedules_stand_still_without_the_demo_and_come_back_with_it(db: None) -> None:
    schedules.seed_schedules(NOW)
    by_hand = PeriodicTask.objects.get(name="demo: clean up")
    by_hand.enabled = False
    by_hand.save()

    assert schedules.retire_schedules() == 7
    assert not PeriodicTask.objects.filter(name__startswith="demo: ", enabled=True).exists()

    schedules.seed_schedules(NOW)
    off = PeriodicTask.objects.filter(name__startswith="demo: ", enabled=False)
    assert list(off.values_list("name", flat=True)) == ["demo: clean up"]


def test_schedules_of_others_are_never_retired(db: None) -> None:
    schedules.seed_schedules(NOW)
    others = PeriodicTask.objects.create(
        name="mine", task="t", interval=PeriodicTask.objects.filter(interval__isnull=False)[0].interval
    )

    schedules.retire_schedules()

    others.refresh_from_db()
    assert others.enabled


def test_waves_come_to_the_wished_rate_over_hours() -> None:
    hours = 15  # whole cycles of the tide
    total = sum(waves.rate(NOW.timestamp() + second, 45_000) for second in range(hours * 3600))
    rates = [waves.rate(NOW.timestamp() + second, 45_000) for second in range(1800)]

    assert total / hours == pytest.approx(45_000, rel=0.01)
    assert max(rates) > 2.5 * 12.5
    assert min(rates) < 0.4 * 12.5


def test_a_task_whose_queue_is_not_declared_goes_to_the_default_one() -> None:
    routed = {route.pattern: (route.queue, route.priority) for route in routes(["default", "bulk"])}

    assert routed["workers.demo.tasks.send_webhook"] == (None, 5)
    assert routed["workers.demo.tasks.sync_product"] == ("default", 4)
    assert {name.removeprefix("workers.demo.tasks.") for name in routed} == set(WISHES)


def test_a_job_of_the_shop_has_the_priority_of_its_route() -> None:
    with collecting() as caught:
        app.tasks["workers.demo.tasks.sync_product"].delay(1)
    assert (caught[0].queue, caught[0].properties["priority"]) == ("default", 4)


class FakeQueues:
    """Queues as deep as they are told to be; None is a broker that is away."""

    depth: int | None = 0

    def __call__(self) -> int:
        if self.depth is None:
            raise BrokerUnreachable("gone")
        return self.depth


@pytest.fixture
def done(db: None, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the customers did, without a broker; one action alone, which makes one job."""
    happened: list[str] = []

    def act(chance: random.Random) -> None:
        happened.append("acted")

    monkeypatch.setattr(producer, "ACTIONS", {act: (1, 1)})
    return happened


def customers(queues: FakeQueues) -> producer.Customers:
    return producer.Customers(queues, 36_000, random.Random(7))


def test_customers_do_what_time_owes_them(done: list[str]) -> None:
    shop = customers(FakeQueues())
    shop.owe(1.0)
    shop.pay()
    assert 1 <= len(done) <= 40

    shop.owe(100_000.0)
    before = len(done)
    shop.pay()
    assert len(done) - before <= producer.OWED * 10 + 6  # a long sleep is not made up for


def test_customers_wait_while_the_workers_are_behind(done: list[str]) -> None:
    queues = FakeQueues()
    shop = customers(queues)
    for depth, acts in ((301, False), (200, False), (149, True), (300, True), (301, False)):
        queues.depth, before = depth, len(done)
        run_a_little(shop, done, acts)
        assert (len(done) > before) is acts, depth


def test_customers_wait_for_a_broker_that_is_away(done: list[str]) -> None:
    queues = FakeQueues()
    queues.depth = None
    shop = customers(queues)
    run_a_little(shop, done, acts=False)
    assert done == []

    queues.depth = 0
    run_a_little(shop, done, acts=True)
    assert done != []


class Rounds(threading.Event):
    """Lets a loop that waits on it go round until `ended` says so, without waiting."""

    def __init__(self, ended: Callable[[], bool]) -> None:
        super().__init__()
        self._ended = ended

    def wait(self, timeout: float | None = None) -> bool:
        return self._ended()


def run_a_little(shop: producer.Customers, done: list[str], acts: bool) -> None:
    """Let the customers go round until they acted, or three times if they should not."""
    before, rounds = len(done), iter(range(3))
    shop.owe(1.0)
    shop.run(Rounds(lambda: len(done) > before if acts else next(rounds, None) is None))


@pytest.mark.slow
def test_the_shop_works_over_a_restart_of_redis_and_closes_cleanly(
    installation: Installation, redis_server: RedisServer, tmp_path: Path
) -> None:
    shop = installation.manage("demo", DEMO_JOBS_PER_HOUR="60000")
    shop.says("the shop is open")
    installation.worker("high,default,low", slots=4)
    wanted = {"process_valuation", "sync_product", "send_webhook", "process_order", "confirm_order"}
    eventually(lambda: wanted <= succeeded(), 60, lambda: f"{succeeded()} {shop.text()[-2000:]}")

    redis_server.kill()
    shop.says("the customers wait")
    redis_server.start()
    shop.says("the customers are back")
    before = TaskResult.objects.count()
    eventually(lambda: TaskResult.objects.count() > before + 20, 60, shop.text)

    assert shop.stop() == 0
    assert "the shop is closed" in shop.text()
    assert "Traceback" not in shop.text()
    eventually(
        lambda: sum(d.depth for d in connect(settings.REDIS_URL).sample(list(settings.QUEUES)).values()) == 0,
        60,
    )


def succeeded() -> set[str]:
    """Tasks of the shop that have succeeded at least once, by their short names."""
    names = TaskResult.objects.filter(status="SUCCESS").values_list("task_name", flat=True).distinct()
    return {name.rpartition(".")[2] for name in names}
