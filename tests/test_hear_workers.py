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

from jobs.lifecycle import STEPS
from jobs.models import Heartbeat, Job, Reach, Standing, Worker, WorkerReport
from jobs.worker_report import read, report_of
from tests import tasks
from tests.harness import Installation, Process, eventually
from tests.steering import known
from tests.test_order_workers import worker
from workers.brokers import BrokerUnreachable
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


def held(task_id: str, state: str, of: str = "w@h", rank: int = STEPS["received"][0], due: float = 0) -> None:
    """A job that this worker has received; due so many seconds from now."""
    now = timezone.now()
    job = Job.objects.create(
        task_id=task_id, task="shop.pay", queue="low", state=state, worker=of, rank=rank,
        received_at=now, eta=now + timedelta(seconds=due) if due else None, seen_at=now,
    )  # fmt: skip
    Standing.objects.create(job=job, state=state, queue="low", task="shop.pay")


@pytest.mark.django_db
def test_what_it_has_taken_and_not_begun_is_listed(visitor: Client) -> None:
    worker(pid=4102)
    for name in ("w@h", "other@h"):
        held(f"of-{name}", "received", name)
    taken = visitor.get("/workers/w@h/").context["frame"]["taken"]
    assert [job["task_id"] for job in taken] == ["of-w@h"]


@pytest.mark.django_db
def test_what_it_holds_until_its_time_is_listed_the_next_one_first(visitor: Client) -> None:
    worker(pid=4102)
    held("later", "scheduled", due=900)
    held("again", "retrying", due=60)
    held("of another", "scheduled", "other@h", due=60)
    held("not received again yet", "retrying", rank=STEPS["retried"][0], due=60)
    held("on its way", "scheduled", rank=0, due=60)
    page = visitor.get("/workers/w@h/")
    assert [job["task_id"] for job in page.context["frame"]["scheduled"]] == ["again", "later"]
    due: Any = Job.objects.values_list("eta", flat=True).get(task_id="again")
    assert f'data-epoch="{due.timestamp()}"' in page.content.decode()


def test_a_real_worker_shows_what_it_holds_until_its_time(
    installation: Installation, monitor: Process, visitor: Client
) -> None:
    installation.worker(slots=1)
    name = known("test").name
    sent = tasks.add.apply_async((1, 2), countdown=3_000)

    def scheduled() -> list[str]:
        return [one["task_id"] for one in visitor.get(f"/workers/{name}/").context["frame"]["scheduled"]]

    eventually(lambda: scheduled() == [sent.id], 60, "the worker has received it, and the record knows")


class Deaf(Told):
    """Nobody answers."""

    def ask(self, question: str, arguments: Mapping[str, Any], workers: Sequence[str]) -> dict[str, Any]:
        self.asked.append(question)
        return {}


class Away(Told):
    """The broker is away."""

    def ask(self, *_: Any) -> dict[str, Any]:
        raise BrokerUnreachable("connection refused")


def shown(visitor: Client, name: str = "w@h") -> tuple[str, str]:
    """The state of a worker in the list, and on its page."""
    rows = visitor.get("/workers/").context["frame"]["workers"]
    [listed] = [row["state"] for row in rows if row["name"] == name]
    return listed, visitor.get(f"/workers/{name}/").context["frame"]["state"]


def watched(**facts: Any) -> Worker:
    """A worker that is heard of, while the monitor is, too."""
    Heartbeat.objects.create(name="monitor", at=timezone.now(), host="h", pid=1, detail='{"ok": true}')
    return worker(pid=4102, setup={"pool": "prefork"}, **facts)


@pytest.mark.django_db
def test_one_that_lives_and_does_not_answer_is_unreachable_until_it_does(visitor: Client) -> None:
    watched()
    before = timezone.now() - timedelta(minutes=1)
    look(Told(), before - AGAIN_AFTER)
    assert shown(visitor) == ("online", "online")
    look(Deaf(), before)
    assert shown(visitor) == ("unreachable", "unreachable")
    page = visitor.get("/workers/w@h/").content.decode()
    assert ("Unreachable" in page, "shop.pay" in page) == (True, True)  # and what it said before
    listed = visitor.get("/workers/")
    assert "0 of 1 online" in listed.content.decode()
    assert "1 lives, but does not answer." in listed.content.decode()
    assert listed.context["frame"]["slots"] == 2  # it works all the same
    assert [one.name for one in due(timezone.now())] == ["w@h"]
    look(Told(stats=None))  # in part will do
    assert shown(visitor) == ("online", "online")


@pytest.mark.slow
def test_a_real_worker_without_remote_control_is_unreachable_and_works(
    installation: Installation, monitor: Process, visitor: Client
) -> None:
    installation.worker(options=("worker.enable_remote_control=0",))
    name = known("test").name
    eventually(lambda: shown(visitor, name) == ("unreachable", "unreachable"), 90, every=0.5)
    assert tasks.add.delay(1, 2).get(timeout=60) == 3


@pytest.mark.django_db
def test_while_the_broker_is_away_nobody_is_called_unreachable(visitor: Client) -> None:
    watched()
    before = timezone.now() - timedelta(minutes=1)
    for asked_at in (before - AGAIN_AFTER, before):
        with pytest.raises(BrokerUnreachable):
            look(Away(), asked_at)
        assert shown(visitor) == ("online", "online")
        look(Told(), asked_at)


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
