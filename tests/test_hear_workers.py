"""What a worker says of itself when the monitor asks it: kept, redacted, and shown without asking anybody."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, cast

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.test import Client
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from jobs.models import Job, Reach, Standing, Worker, WorkerReport
from jobs.worker_report import read, report_of
from tests.harness import Installation, Process, eventually
from tests.steering import known
from tests.test_order_workers import worker
from workers.control import Control
from workers.monitor.inspections import AGAIN_AFTER, due, inspect

STATS: dict[str, Any] = {
    "pid": 4102,
    "uptime": 900,
    "prefetch_count": 8,
    "total": {"shop.pay": 12, "bank.pay": 3},
    "pool": {
        "implementation": "celery.concurrency.prefork:TaskPool",
        "max-concurrency": 2,
        "processes": [5, 6],
    },
    "rusage": {"maxrss": 2048, "utime": 1.5, "stime": 0.5},
    "broker": {"transport": "redis", "hostname": "cache", "port": 6379, "userid": "x", "password": "hush"},
}
REGISTERED = ["shop.pay [rate_limit=10/m time_limit=30]", "bank.pay"]
CONF = {
    "broker_url": "redis://:hush@cache/0",
    "api_token": "hush",
    "task_time_limit": 30,
    "beat_schedule": {},
}


class Told:
    """A control that has these answers, and counts the questions."""

    def __init__(self, **said: Any) -> None:
        self.said = {"stats": STATS, "registered": REGISTERED, "conf": CONF, **said}
        self.asked: list[str] = []

    def ask(self, question: str, arguments: Mapping[str, Any], workers: Sequence[str]) -> dict[str, Any]:
        self.asked.append(question)
        return dict.fromkeys(workers, self.said[question])


def look(told: Told, now: datetime | None = None) -> None:
    inspect(cast(Control, told), now or timezone.now())


@pytest.mark.django_db
def test_a_worker_is_asked_when_it_is_first_seen_and_not_again_at_once() -> None:
    told, now = Told(), timezone.now()
    worker(pid=4102)
    look(told, now)
    look(told, now + timedelta(seconds=5))
    assert told.asked == ["stats", "registered", "conf"]
    Worker.objects.update(seen_at=now + AGAIN_AFTER)
    assert [one.name for one in due(now + AGAIN_AFTER)] == ["w@h"]


@pytest.mark.django_db
def test_one_that_is_silent_or_gone_is_not_asked() -> None:
    now = timezone.now()
    worker(name="gone@h", offline_at=now)
    worker(name="silent@h", seen_at=now - timedelta(minutes=1))
    assert due(now) == []


@pytest.mark.django_db
def test_the_answer_of_another_process_of_its_name_is_not_taken_for_its_own() -> None:
    worker(pid=99)
    look(Told())
    assert WorkerReport.objects.get().told is None


@pytest.mark.django_db
def test_what_it_says_is_shown_without_its_secrets(visitor: Client) -> None:
    worker(pid=4102)
    look(Told())
    said = visitor.get("/workers/w@h/").content.decode()
    assert "hush" not in said
    for told in ("shop.pay", "10/m", "task_time_limit", "2.0", "cache:6379", "[hidden]"):
        assert told in said.replace("\xa0", " "), told


@pytest.mark.django_db
def test_a_task_or_setting_of_any_name_can_be_shown(visitor: Client) -> None:
    worker(pid=4102)
    look(Told(stats={**STATS, "total": {"items": 3}}, conf={"items": 1, "keys": 2}))
    said = visitor.get("/workers/w@h/").content.decode()
    assert 'title="items">items</span>' in said
    assert "<code>keys</code>" in said


@pytest.mark.django_db
def test_the_configuration_is_not_for_who_may_not_read_what_schedules_carry(client: Client) -> None:
    worker(pid=4102)
    look(Told(conf={"beat_schedule": {"nightly": {"args": ["card 4111"]}}}))
    guest = User.objects.create_user("guest")
    guest.user_permissions.add(Permission.objects.get(codename="view_record"))
    client.force_login(guest)
    said = client.get("/workers/w@h/").content.decode()
    assert "shop.pay" in said
    assert "4111" not in said


@pytest.mark.django_db
def test_before_it_has_answered_nothing_is_known(visitor: Client) -> None:
    worker(pid=4102)
    said = visitor.get("/workers/w@h/").content.decode()
    assert "Not known: it has not answered yet." in said


@pytest.mark.django_db
def test_a_narrow_reach_sees_its_own_tasks_and_no_configuration(client: Client) -> None:
    worker(pid=4102)
    look(Told())
    vi = User.objects.create_user("vi")
    vi.groups.add(Group.objects.get(name="viewer"))
    Reach.objects.create(user=vi, queues="*", tasks="shop.*")
    client.force_login(vi)
    said = client.get("/workers/w@h/").content.decode()
    assert "shop.pay" in said
    assert "bank.pay" not in said
    assert "task_time_limit" not in said


@pytest.mark.django_db
def test_what_it_has_taken_and_not_begun_is_listed(visitor: Client) -> None:
    worker(pid=4102)
    for name in ("w@h", "other@h"):
        job = Job.objects.create(
            task_id=f"of-{name}", task="shop.pay", queue="low", state="received", worker=name,
            received_at=timezone.now(), seen_at=timezone.now(),
        )  # fmt: skip
        Standing.objects.create(job=job, state="received", queue="low", task="shop.pay")
    taken = visitor.get("/workers/w@h/").context["frame"]["taken"]
    assert [job["task_id"] for job in taken] == ["of-w@h"]


@pytest.mark.django_db
def test_known_faults_of_its_releases_stand_on_its_page(visitor: Client) -> None:
    worker(pid=1, setup={"celery": "5.4.0", "kombu": "5.4.0"})
    assert "its hard time limit ends sends no event" in visitor.get("/workers/w@h/").content.decode()


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)


@given(anything, anything, anything)
def test_whatever_is_answered_makes_a_report_that_is_read_back(
    stats: Any, registered: Any, conf: Any
) -> None:
    report = report_of(stats, registered, conf)
    assert read(report.text()) == report


@given(anything)
def test_odd_parts_of_an_answer_are_left_out(odd: Any) -> None:
    told = dict.fromkeys(STATS, odd)
    report = report_of(told, [odd, "shop.pay"], {"x": odd})
    assert read(report.text()) == report


def test_a_real_worker_tells_of_its_pool_tasks_and_configuration(
    installation: Installation, monitor: Process
) -> None:
    installation.worker(slots=2)
    name = known("test").name

    def told() -> str | None:
        row = WorkerReport.objects.filter(worker__name=name).first()
        return row.told if row else None

    eventually(lambda: told() is not None, 60, "it was asked and has answered")
    report = read(told())
    assert report is not None
    assert (report.most, len(report.pids)) == (2, 2)
    assert "tests.tasks.add" in {task["task"] for task in report.tasks or ()}
    assert report.settings
