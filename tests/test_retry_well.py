"""Faults that pass are tried again, ever later; others fail at once."""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from celery.exceptions import Retry
from django.db import OperationalError as DatabaseAway
from django.db import transaction
from hypothesis import given
from hypothesis import strategies as st
from kombu.exceptions import OperationalError

from jobs import outbox
from jobs.models import Job, Outgoing
from jobs.outbox import Message
from tests import promises
from tests.harness import Installation, RedisServer, eventually
from tests.working import events, lines, worker
from workers.amqp import _caught
from workers.app import app
from workers.brokers import connect
from workers.outbox import Publisher
from workers.putting_back import PutBack
from workers.retries import Permanent, Transient, wait_before


def test_what_passes_is_retried_and_what_does_not_fails_at_once(
    installation: Installation, tmp_path: Path
) -> None:
    worker(installation, slots=2, tasks="tests.promises")
    ends = {}
    for fault in ("connection", "transient", "permanent", "other"):
        asked: Any = promises.ask_partner
        ends[fault] = asked.delay(str(tmp_path / fault), fault)
    assert ends["connection"].get(timeout=20) == ends["transient"].get(timeout=20) == "told"
    with pytest.raises(Permanent):
        ends["permanent"].get(timeout=20)
    with pytest.raises(KeyError):
        ends["other"].get(timeout=20)
    ran = {fault: lines(tmp_path / fault) for fault in ends}
    assert ran == {
        "connection": ["0", "1", "2"],
        "transient": ["0", "1", "2"],
        "permanent": ["0"],
        "other": ["0"],
    }


def test_a_failure_that_somebody_wants_to_know_of_is_told_once_it_is_final(
    installation: Installation, redis_server: RedisServer
) -> None:
    running = worker(installation, tasks="tests.promises")
    job = promises.must_not_fail.delay()
    with pytest.raises(KeyError):
        job.get(timeout=20)
    running.says(f"job {job.id} of tests.promises.must_not_fail failed for good")
    told = eventually(lambda: [e for e in events(redis_server) if e["type"] == "job-alert"])
    assert [(e["uuid"], e["name"]) for e in told] == [(job.id, "tests.promises.must_not_fail")]
    assert "currency" in told[0]["exception"]


@given(
    st.integers(0, 10_000), st.floats(0.001, 100), st.floats(0.001, 10_000), st.floats(0, 1), st.booleans()
)
def test_a_wait_doubles_up_to_its_cap_and_jitter_only_shortens_it(
    retry: int, first: float, cap: float, share: float, jitter: bool
) -> None:
    longest = wait_before(retry, first, cap, False)
    assert longest == min(cap, first * 2 ** min(retry, 60))
    assert wait_before(retry, first, cap, True, lambda low, high: low + share * (high - low)) <= longest
    assert 0 <= wait_before(retry, first, cap, jitter) <= longest


def test_a_transient_fault_keeps_its_wait_on_its_way_between_processes() -> None:
    fault = pickle.loads(pickle.dumps(Transient("busy", after=2.5)))
    assert (fault.args, fault.after) == (("busy",), 2.5)


# With the broker away


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A job at hand, whose messages the broker doesn't take."""
    make = app.amqp.send_task_message

    def send(*args: Any, **options: Any) -> Any:
        if _caught.get() is None:
            raise OperationalError("away")
        return make(*args, **options)

    monkeypatch.setattr(app.amqp, "send_task_message", send)
    task: Any = promises.ask_partner
    task.push_request(
        id="job", task=task.name, args=("file", "connection"), kwargs={}, retries=1, called_directly=False,
        is_eager=False, delivery_info={"exchange": "", "routing_key": "high", "priority": 7},
    )  # fmt: skip
    yield task
    task.pop_request()


@pytest.mark.django_db(transaction=True)
def test_a_retry_waits_in_the_outbox(refused: Any) -> None:
    before = datetime.now(UTC)
    with pytest.raises(Retry):
        refused.retry(exc=ConnectionError("reset"), countdown=60)
    row = Outgoing.objects.get()
    assert (row.task_id, row.task, row.queue, row.priority) == ("job", refused.name, "high", 7)
    assert json.loads(row.headers)["retries"] == 2
    assert json.loads(row.body)[0] == ["file", "connection"]
    assert before + timedelta(seconds=50) < row.due_at < before + timedelta(seconds=90)
    assert isinstance(refused.retry(throw=False, countdown=0), Retry)
    assert Outgoing.objects.get().due_at < before + timedelta(seconds=50)


@pytest.mark.django_db(transaction=True)
def test_it_takes_the_place_of_the_message_that_has_just_been_run(refused: Any) -> None:
    outbox.put(Message("job", refused.name, "high", "[]", {"id": "job"}))
    held = Outgoing.objects.get()
    with pytest.raises(Retry):
        refused.retry(countdown=60)
    outbox.published([held])
    assert json.loads(Outgoing.objects.get().headers)["retries"] == 2


@pytest.mark.usefixtures("redis_url")
@pytest.mark.django_db(transaction=True)
def test_the_broker_takes_it_though_it_has_had_an_attempt_of_this_job_before(
    redis_server: RedisServer, refused: Any
) -> None:
    for _ in range(2):
        with redis_server.client() as client:
            client.set("nightdesk:once:job", "")
        with pytest.raises(Retry):
            refused.retry(countdown=0)
        Publisher().publish_due()
        assert connect(redis_server.url).sample(["high"])["high"].depth == 1
    assert not Outgoing.objects.exists()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("throw", [True, False])
def test_what_can_not_wait_there_either_is_put_back(
    refused: Any, monkeypatch: pytest.MonkeyPatch, throw: bool
) -> None:
    with pytest.raises(PutBack), transaction.atomic():  # which would take the row along
        refused.retry(countdown=0, throw=throw)

    def refuse(message: Message) -> None:
        raise DatabaseAway("away")

    monkeypatch.setattr(outbox, "put_instead", refuse)
    with pytest.raises(PutBack):
        refused.retry(countdown=0, throw=throw)
    assert not Outgoing.objects.exists()


@pytest.mark.slow
def test_a_job_whose_retry_falls_into_an_outage_is_retried_after_it(
    installation: Installation, redis_server: RedisServer, tmp_path: Path
) -> None:
    worker(installation, tasks="tests.promises")
    installation.monitor()
    began, go = tmp_path / "began", tmp_path / "go"
    job = promises.fail_once_told.delay(str(began), str(go))
    eventually(lambda: lines(began) == ["0"])
    redis_server.stop()
    go.touch()
    eventually(lambda: Outgoing.objects.filter(task_id=job.id).exists(), 60)
    redis_server.start()
    assert job.get(timeout=60) == 1
    assert lines(began) == ["0", "1"]
    eventually(lambda: Job.objects.get().state == "succeeded", 30)
