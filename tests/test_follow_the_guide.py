"""docs/guide.md and docs/patterns.md do what they say: their code is `tests/guide/`, and runs here."""

from __future__ import annotations

import ast
import json
import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.contrib.sessions.backends.db import SessionStore
from django.db import transaction
from django.test import Client, RequestFactory
from django.urls import reverse
from django.utils import timezone
from django_celery_beat.models import PeriodicTask
from django_celery_results.models import TaskResult
from django_tasks import TaskResultStatus

from jobs.enqueued import jobs_of
from jobs.models import Attempt, Job, Outgoing, Tag, Trigger
from jobs.perform import Actor, perform
from tests.guide.shop import patterns, tasks, views
from tests.guide.shop.models import BankCall, Order, Visit
from tests.guide.shop.tests import ChargeTest
from tests.harness import Installation, eventually
from tests.test_publish_the_outbox import depth
from tests.working import worker
from workers import triggers
from workers.commands.jobs import Retry
from workers.dispatch import dispatcher
from workers.enqueue import EnqueueError, enqueue, using
from workers.triggers import faults

DOCS = Path(__file__).resolve().parent.parent / "docs"
PAGES = ["guide.md", "patterns.md"]
SHOP = Path(__file__).resolve().parent / "guide/shop"

__all__ = ["ChargeTest"]


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (DOCS / page).read_text(), re.DOTALL)


def as_here(text: str) -> str:
    """The guide's `shop` is ours."""
    return re.sub(r'(from |import |")shop(?=[ .]|\n)(?!\.order)', r"\1tests.guide.shop", text)


@pytest.mark.parametrize("page", PAGES)
def test_each_piece_of_code_stands_in_the_shop_as_it_is_shown(page: str) -> None:
    found = blocks(page, "python")
    assert len(found) >= 5
    for block in found:
        first, _, code = block.partition("\n")
        file = SHOP / first.removeprefix("# shop/")
        here, shown = file.read_text(), as_here(code)
        assert imports(shown) <= imports(here), file
        assert [piece for piece in definitions(shown) if piece not in here] == [], file


def imports(code: str) -> set[tuple[str, str]]:
    """What is imported from where."""
    found = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.ImportFrom)]
    return {(node.module or "", alias.name) for node in found for alias in node.names}


def definitions(code: str) -> list[str]:
    """Whole functions and classes, as they stand."""
    parts = [part.strip("\n") for part in code.split("\n\n\n")]
    return [part for part in parts if part and not part.startswith(("from ", "import "))]


def test_the_shop_itself_is_complete() -> None:
    shown = as_here("".join(code for page in PAGES for code in blocks(page, "python")))
    defined = re.findall(r"^def (\w+)", (SHOP / "tasks.py").read_text(), re.MULTILINE)
    assert {"charge", "archive"} <= set(defined)
    unshown = {name for name in defined if f"def {name}(" not in shown}
    assert unshown == {"export_orders", "ship", "remind", "remind_all"}


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is enqueued stays in the outbox to be looked at."""
    monkeypatch.setattr(dispatcher, "post", lambda rows: None)


@pytest.fixture(autouse=True)
def rested(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatcher, "_rest_until", 0.0)


def start(installation: Installation) -> None:
    installation.monitor()
    worker(
        installation, "high,default,low", slots=2, tasks="tests.tasks",
        DJANGO_SETTINGS_MODULE="tests.guide.settings",
    )  # fmt: skip


def order(total: str = "12.50", **fields: Any) -> Order:
    return Order.objects.create(email="ana@example.com", total=Decimal(total), **fields)


def place(total: str) -> Order:
    request = RequestFactory().post("/", {"email": "ana@example.com", "total": total})
    return Order.objects.get(pk=json.loads(views.place_order(request).content)["order"])


def result_of(task_id: str) -> TaskResult | None:
    return TaskResult.objects.filter(task_id=task_id, status__in=["SUCCESS", "FAILURE"]).first()


def outcome(task_id: str) -> Any:
    """What the job came to, once it has."""
    eventually(lambda: result_of(task_id) is not None, message="it has ended")
    stored = result_of(task_id)
    assert stored is not None
    return json.loads(stored.result)


def mails() -> list[str]:
    return [file.read_text() for file in (settings.DATA_DIR / "mail").glob("*.log")]


@pytest.mark.django_db(transaction=True)
class TestTheGuide:
    def test_an_order_is_charged_after_a_fault_once_and_all_of_it_is_seen(
        self, installation: Installation, client: Client, ops: User
    ) -> None:
        busy, poor = place("20.13"), place("9.99")
        start(installation)
        ended = jobs_of(busy).filter(state="succeeded")
        eventually(lambda: ended.count() == 2, message="it is charged, and its receipt is sent")
        busy.refresh_from_db()
        charged = ended.get(task=tasks.charge.name)
        assert Attempt.objects.filter(job=charged).count() == 2
        assert list(BankCall.objects.filter(key=f"order-{busy.pk}").exclude(receipt="")) == [
            BankCall.objects.get(receipt=busy.receipt)
        ]
        assert busy.paid_at is not None
        assert any(busy.receipt in text for text in mails())
        client.force_login(ops)
        page = client.get(reverse("admin:shop_order_change", args=[busy.pk])).content.decode()
        assert page.count(reverse("job", args=[charged.task_id])) == 1
        eventually(lambda: jobs_of(poor).filter(state="failed").exists(), message="one is declined")
        assert BankCall.objects.filter(key=f"order-{poor.pk}").count() == 1

    @pytest.mark.usefixtures("redis_url", "kept")
    def test_a_key_makes_one_job(self) -> None:
        placed = place("12.50")
        again = using(key=f"charge-{placed.pk}", about=placed).enqueue(tasks.charge, placed.pk)
        assert (again.new, again.is_held, again.job) == (False, True, None)

    @pytest.mark.usefixtures("redis_url", "kept")
    def test_the_trigger_is_a_good_one_and_fires(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(triggers, "KNOWN_FOR", 0.0)
        told = json.loads(as_here(blocks("guide.md", "json")[0]))
        trigger = Trigger(**told)
        trigger.full_clean()
        assert faults(trigger) == {}
        trigger.save()
        triggers.rules.forget()
        paid = order()
        Order.objects.update(email="bo@example.com")
        assert not Outgoing.objects.exists()
        paid.paid_at = timezone.now()
        paid.save()
        triggers.rules.forget()
        row = Outgoing.objects.get()
        assert (row.task, row.queue, json.loads(row.body)[1]) == (
            tasks.ship.name, "low", {"order_id": paid.pk},
        )  # fmt: skip

    def test_djangos_own_tasks_run(self, installation: Installation) -> None:
        order("120.00")
        asked = tasks.unpaid_orders.enqueue(100)
        start(installation)
        assert outcome(asked.id) == 1
        eventually(
            lambda: Job.objects.filter(task_id=asked.id, state="succeeded").exists(), message="recorded"
        )
        found = tasks.unpaid_orders.get_result(asked.id)
        assert (found.status, found.return_value) == (TaskResultStatus.SUCCESSFUL, 1)


@pytest.mark.django_db(transaction=True)
class TestPatterns:
    def test_they_do_what_they_say(self, installation: Installation) -> None:
        first, second = order("10.00"), order("5.50")
        for _ in range(3):
            patterns.saw("/night")
        shipped = patterns.charge_and_ship(first)
        assert not patterns.charge_and_ship(first).new
        patterns.charge_first(second)
        built = [patterns.rebuild() for _ in range(2)]
        synced = patterns.sync(["ana", "bo"])
        start(installation)
        eventually(
            lambda: Visit.objects.filter(page="/night", count=3).exists(), message="visits are counted"
        )
        eventually(lambda: Order.objects.exclude(shipped_at=None).exists(), message="the chain has run")
        eventually(lambda: not Order.objects.filter(paid_at=None).exists(), message="both are paid")
        assert outcome(shipped.id) == first.pk
        assert built[0].id == built[1].id
        assert outcome(built[0].id) == 2
        assert [outcome(job.id) for job in synced] == ["ana", "bo"]
        assert not TaskResult.objects.filter(task_name=tasks.count_visit.name).exists()
        assert Decimal(outcome(patterns.add_up_orders([[first.pk], [second.pk]]).id)) == Decimal("15.50")

    def test_a_chain_goes_on_where_its_failed_step_is_retried(
        self, installation: Installation, ops: User
    ) -> None:
        poor = order("9.99")
        patterns.charge_and_ship(poor)
        start(installation)
        failed = Job.objects.filter(task=tasks.charge.name, state="failed")
        eventually(failed.exists, message="the bank declines")
        Order.objects.update(total=Decimal("9.50"))
        perform(Actor(ops, "page"), Retry(failed.get().task_id))
        eventually(lambda: Order.objects.exclude(shipped_at=None).exists(), message="it is shipped")

    def test_reminders_fan_out_and_old_orders_are_archived_with_progress(
        self, installation: Installation
    ) -> None:
        for _ in range(3):
            order()
        old = order(paid_at=timezone.now() - timedelta(days=500))
        jobs = patterns.remind_everybody()
        assert Tag.objects.filter(name="reminder").count() == len(jobs) == 3
        archived = patterns.archive_old()
        again = enqueue(tasks.remind_all)
        start(installation)
        assert [outcome(job.id) for job in jobs] == [None] * 3
        assert (outcome(archived.id), outcome(again.id)) == (1, 3)
        assert not Order.objects.filter(pk=old.pk).exists()
        assert sum("waits for you" in text for text in mails()) >= 3

    def test_a_result_is_asked_for_later(self, installation: Installation) -> None:
        order()
        session = SessionStore()
        request = RequestFactory().post("/")
        request.session = session
        assert views.start_export(request).status_code == 202
        assert views.exported(request).status_code == 202
        start(installation)
        eventually(lambda: views.exported(request).status_code == 200, message="it is there")
        assert json.loads(views.exported(request).content) == {"orders": 1}

    @pytest.mark.usefixtures("redis_url", "kept")
    def test_scheduled_ones_wait_in_the_database(self) -> None:
        one = order()
        patterns.remind_tomorrow(one)
        patterns.remind_at_eight(one)
        dues = list(Outgoing.objects.order_by("pk").values_list("due_at", flat=True))
        assert dues[0] > datetime.now(UTC) + timedelta(hours=23)
        assert (dues[1].hour, dues[1].minute) == (8, 0)
        expiry = json.loads(Outgoing.objects.order_by("-pk")[0].headers)["expires"]
        assert datetime.fromisoformat(expiry) - dues[1] == timedelta(hours=4)
        assert depth() == 0

    def test_a_schedule_is_a_row(self) -> None:
        patterns.remind_every_hour()
        patterns.remind_every_hour()
        assert PeriodicTask.objects.get(name="remind").task == tasks.remind_all.name

    @pytest.mark.usefixtures("redis_url", "kept")
    async def test_a_coroutine_enqueues(self) -> None:
        assert (await patterns.export()).new


@pytest.mark.django_db(transaction=True)
class TestMistakes:
    def test_waiting_in_a_task_is_refused(self, installation: Installation) -> None:
        job = enqueue(tasks.wait_for_another)
        start(installation)
        assert "Never call result.get() within a task" in str(outcome(job.id))

    @pytest.mark.usefixtures("redis_url", "kept")
    @pytest.mark.parametrize(("task", "charged"), [(tasks.charge_forgetfully, 2), (tasks.charge, 1)])
    def test_what_runs_again_charges_again_unless_its_key_stays(self, task: Any, charged: int) -> None:
        careless = order("7.00")
        for _ in range(2):  # as after a kill, or a fault behind the bank's line
            task.apply([careless.pk])
        assert BankCall.objects.exclude(receipt="").count() == charged

    @pytest.mark.usefixtures("redis_url")
    def test_objects_and_large_things_are_refused(self) -> None:
        with pytest.raises(EnqueueError, match="pass its primary key"):
            enqueue(tasks.charge, order())
        with pytest.raises(EnqueueError, match="JOB_BODY_CAP"):
            enqueue(tasks.count_visit, "x" * 300_000)

    @pytest.mark.usefixtures("redis_url")
    def test_delay_does_not_ask_the_transaction(self) -> None:
        with transaction.atomic():
            tasks.count_visit.delay("/night")
            enqueue(tasks.count_visit, "/day")
            transaction.set_rollback(True)
        assert depth() == 1
        assert not Outgoing.objects.exists()
