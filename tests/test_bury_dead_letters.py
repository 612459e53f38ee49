"""What real workers can't or won't run becomes a dead letter, and runs once its cause is mended."""

from __future__ import annotations

import base64
import json
import pickle
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django_celery_results.models import TaskResult
from kombu.message import Message

from jobs import dead_letters
from jobs.models import DeadLetter, Job, Quarantine
from jobs.perform import Actor, perform
from jobs.scopes import EVERYTHING
from nightdesk.undecodable import ends_a_worker
from tests import promises, tasks
from tests.harness import Installation, RedisServer, eventually
from tests.steering import done
from tests.test_run_once import IMPATIENT, nothing_waits
from tests.working import lines, worker
from workers.app import app
from workers.brokers import connect
from workers.commands.dead import Discard, Requeue

pytestmark = pytest.mark.usefixtures("published_from_here")


def letter(why: str, **more: Any) -> DeadLetter:
    """The one that waits for this reason."""
    found = eventually(
        lambda: list(DeadLetter.objects.filter(why=why, settled="", **more)),
        40,
        lambda: f"{why} among {list(DeadLetter.objects.values())}; {list(Quarantine.objects.values())}",
    )
    assert len(found) == 1
    one: DeadLetter = found[0]
    return one


def stands(task_id: str | None, state: str) -> Job:
    eventually(
        lambda: Job.objects.filter(task_id=task_id, state=state).exists(),
        30,
        lambda: f"{task_id} {state}: {list(Job.objects.values('task_id', 'state', 'exception'))}",
    )
    return Job.objects.get(task_id=task_id)


def put(redis_server: RedisServer, content: bytes, headers: dict[str, Any], **kind: Any) -> None:
    """Publish these bytes with these headers, as any client of the broker may."""
    with app.connection_for_write() as connection:
        producer = connection.Producer(auto_declare=False)
        producer.publish(
            content,
            exchange="",
            routing_key="default",
            declare=[app.amqp.queues["default"]],
            headers=headers,
            **{"content_type": "application/json", "content_encoding": "utf-8", **kind},
        )


def test_a_job_of_a_task_that_its_worker_does_not_know_runs_once_one_does(
    installation: Installation, ops: User
) -> None:
    installation.monitor()
    old = worker(installation, tasks="workers.tasks")
    asked = tasks.add.delay(1, 2)
    unknown = letter("unknown")
    assert (unknown.task_id, unknown.task, unknown.queue) == (asked.id, "tests.tasks.add", "default")
    assert stands(asked.id, "failed").exception == "NotRegistered('tests.tasks.add')"
    assert dead_letters.open_within(EVERYTHING) == 1

    old.stop()
    worker(installation, tasks="tests.tasks")
    done(ops, Requeue((unknown.pk,)), "deployed")
    unknown.refresh_from_db()
    again = stands(unknown.new_task_id, "succeeded")
    assert (unknown.settled, again.retry_of) == ("requeued", asked.id)
    assert dead_letters.open_within(EVERYTHING) == 0


def test_an_unknown_task_of_a_producer_without_a_recorder_can_be_sent_again_too(
    installation: Installation, redis_server: RedisServer, ops: User
) -> None:
    installation.monitor()
    worker(installation, tasks="tests.tasks")
    headers = {"id": "foreign", "task": "shop.gone", "retries": 0, "root_id": "foreign", "lang": "py"}
    put(redis_server, b'[["a"], {"b": 1}, {}]', headers)
    unknown = letter("unknown")
    assert (unknown.task, unknown.queue) == ("shop.gone", "default")
    payload = stands("foreign", "failed").payload
    assert json.loads(payload.body or "")[:2] == [["a"], {"b": 1}]
    done(ops, Requeue((unknown.pk,)))
    eventually(lambda: DeadLetter.objects.filter(why="unknown").count() == 2, 30)


def test_an_unknown_task_whose_body_may_not_be_read_is_told_by_its_headers(
    installation: Installation, redis_server: RedisServer, ops: User
) -> None:
    installation.monitor()
    worker(installation, tasks="tests.tasks")
    kind = {"content_type": "application/x-python-serialize", "content_encoding": "binary", "priority": 3}
    put(redis_server, pickle.dumps(((), {}, {})), {"id": "foreign", "task": "shop.gone"}, **kind)
    unknown = letter("unknown")
    assert (unknown.task, unknown.queue) == ("shop.gone", "default")
    job = Job.objects.get(task_id="foreign")
    assert (job.priority, job.payload.body, job.payload.withheld) == (3, None, "not captured")
    assert perform(Actor(ops, "page"), Requeue((unknown.pk,))).refusal is not None


GARBAGE: dict[str, tuple[bytes, dict[str, Any], dict[str, Any]]] = {
    "no JSON": (b"\xff\x00{", {"id": "a-job", "task": "tests.tasks.add"}, {}),
    "of another content type": (
        b"cos\nsystem\n(S'true'\ntR.",
        {"id": "a-job", "task": "tests.tasks.add"},
        {"content_type": "application/x-python-serialize", "content_encoding": "binary"},
    ),
    "no job": (b'{"hello": "world"}', {}, {}),
    "no JSON and no headers": (b"hello", {}, {}),
    "of a content type that nobody knows": (
        b"<xml/>",
        {"id": "a-job", "task": "tests.tasks.add"},
        {"content_type": "text/xml"},
    ),
    "a job without an id": (b"[[1, 2], {}, {}]", {"task": "tests.tasks.add"}, {}),
    "a job whose task is no text": (b"[[1, 2], {}, {}]", {"id": "a-job", "task": []}, {}),
    "a job that carries a number": (b"5", {"id": "a-job", "task": "tests.tasks.add"}, {}),
}


@pytest.mark.parametrize("kind", GARBAGE)
def test_a_message_that_cannot_be_read_is_kept_and_the_worker_goes_on(
    installation: Installation, redis_server: RedisServer, ops: User, kind: str
) -> None:
    installation.monitor()
    worker(installation, tasks="tests.tasks")
    content, headers, more = GARBAGE[kind]
    put(redis_server, content, headers, **more)
    found = letter("unreadable")
    assert base64.b64decode(found.raw or "") == content
    known = headers.get("id") == "a-job"
    assert (found.queue, found.times, found.task_id) == ("default", 1, "a-job" if known else None)
    assert (bool(found.exception), found.priority) == (True, 0)
    if known:
        assert stands("a-job", "rejected").task is None
    assert tasks.add.delay(1, 2).get(timeout=20) == 3
    assert connect(settings.REDIS_URL).unacked() == 0

    done(ops, Requeue((found.pk,)), "once more")
    again = letter("unreadable", times=2)
    assert (again.pk, again.raw) == (found.pk, found.raw)
    done(ops, Discard((found.pk,)))
    assert dead_letters.open_within(EVERYTHING) == 0


JOB = {"id": "a-job", "task": "tests.tasks.add"}


@pytest.mark.parametrize(
    ("content", "headers", "ends"),
    [
        (b"[[1, 2], {}, {}]", JOB, False),
        (b"[[1, 2], {}, {}]", {"task": "shop.gone"}, True),
        (b"[[1, 2], {}, {}]", {**JOB, "id": None}, True),
        (b"[[1, 2], {}, {}]", {**JOB, "id": ["a"]}, True),
        (b"[[1, 2], {}, {}]", {**JOB, "id": uuid4()}, False),
        (b"[[1, 2], {}, {}]", {**JOB, "task": 7}, True),
        (b"[[1, 2], {}, {}]", {}, False),
        (b"[[1, 2], {}, {}]", None, False),
        (b"no JSON", JOB, False),
        (b"null", JOB, True),
        (b"true", {}, False),
        (json.dumps({**JOB, "args": [1, 2]}).encode(), {}, False),
        (json.dumps({**JOB, "args": [1, 2]}).encode(), {"task": "tests.tasks.add"}, False),
        (b'{"task": "tests.tasks.add", "args": [1, 2]}', {}, True),
        (b'{"task": "tests.tasks.add"}', {"id": "a-job"}, True),
        (b'{"task": ["tests.tasks.add"], "id": "a-job"}', {}, True),
        (b'{"id": "a-job"}', {}, False),
    ],
)
def test_celery_is_kept_from_what_would_end_its_worker_and_from_nothing_else(
    content: bytes, headers: Any, ends: bool
) -> None:
    as_it_came: Any = content
    message = Message(as_it_came, content_type="application/json", content_encoding="utf-8")
    message.headers = headers
    assert ends_a_worker(message) == ends


def test_celery_is_kept_from_a_message_whose_encoding_is_no_text() -> None:
    as_it_came: Any = b"[[1, 2], {}, {}]"
    no_text: Any = 5
    message = Message(as_it_came, content_type="application/json", content_encoding=no_text, headers=JOB)
    assert ends_a_worker(message)


def whole(of_properties: bytes, headers: bytes) -> bytes:
    """An envelope with all that it needs, and these."""
    where = b'"delivery_tag": "t", "delivery_info": {"exchange": "", "routing_key": "default"}'
    return b'{"body": "x", "headers": %s, "properties": {%s, %s}}' % (headers, where, of_properties)


@pytest.mark.parametrize(
    "content",
    [
        b"garbage",
        b"\xff\xfe\x00",
        b"[1, 2]",
        b"{}",
        b'{"properties": {"delivery_tag": "t"}}',
        b'{"body": "", "properties": {"delivery_tag": "t", "delivery_info": {"exchange": ""}}}',
        b'{"headers": [], "body": "", "properties": {"delivery_tag": "t", "delivery_info": 7}}',
        whole(b'"body_encoding": "zip"', b"{}"),
        whole(b'"priority": 1', b'{"n": {"__type__": "decimal", "__value__": "zz"}}'),
        b"",
    ],
)
def test_what_is_no_message_at_all_does_not_end_the_worker(
    installation: Installation, redis_server: RedisServer, ops: User, content: bytes
) -> None:
    installation.monitor()
    at_work = worker(installation, tasks="tests.tasks")
    with redis_server.client() as client:
        client.lpush("default", content)
    found = letter("unreadable")
    assert (found.queue, found.size, found.withheld) == ("default", len(content), "not an envelope")
    assert tasks.add.delay(1, 2).get(timeout=20) == 3
    assert at_work.exit_code is None
    done(ops, Discard((found.pk,)))


def test_a_secret_in_bytes_that_nobody_can_read_is_not_kept(
    installation: Installation, redis_server: RedisServer
) -> None:
    installation.monitor()
    worker(installation, tasks="tests.tasks")
    put(redis_server, b'{"password": "hunter2", oops', {"id": "x", "task": "tests.tasks.add"})
    found = letter("unreadable")
    assert (found.raw, found.withheld) == (None, "redacted")
    assert "hunter2" not in str(DeadLetter.objects.values())


def test_a_job_that_is_out_of_retries_is_kept_and_one_that_fails_at_once_is_not(
    installation: Installation, ops: User
) -> None:
    installation.monitor()
    worker(installation, tasks="tests.tasks")
    plain = tasks.fail_with.delay("no")
    out = tasks.succeed_at.delay(9)
    found = letter("retries")
    assert (found.task_id, found.times) == (out.id, 4)
    assert stands(plain.id, "failed").task == "tests.tasks.fail_with"
    assert DeadLetter.objects.count() == 1
    done(ops, Requeue((found.pk,)))
    assert letter("retries").task_id != out.id


def test_a_job_that_has_killed_its_process_three_times_is_given_to_no_fourth(
    installation: Installation, tmp_path: Path
) -> None:
    installation.monitor()
    worker(installation, tasks="tests.tasks")
    ran = tmp_path / "ran"
    poison = tasks.die.delay(str(ran))
    found = letter("poison")
    assert (found.task_id, found.times) == (poison.id, 3)
    assert (found.exception or "").startswith("WorkerLostError('Worker exited prematurely")
    assert lines(ran) == ["died 0", "died 1", "died 2"]
    assert tasks.add.delay(1, 2).get(timeout=20) == 3
    payload = stands(poison.id, "failed").payload
    assert json.loads(payload.body or "")[0] == [str(ran)]


@pytest.mark.slow
def test_a_job_that_has_killed_three_workers_is_given_to_no_fourth(
    installation: Installation, redis_server: RedisServer, tmp_path: Path, ops: User
) -> None:
    installation.monitor()
    ran = tmp_path / "ran"
    poison = promises.take_the_worker_along.delay(str(ran))
    for time in (1, 2, 3):
        doomed = worker(installation, tasks="tests.promises", **IMPATIENT)
        doomed.wait(60)
        assert len(lines(ran)) == time
    worker(installation, tasks="tests.promises", **IMPATIENT)
    found = letter("poison")
    assert found.task_id == poison.id
    assert "WorkersLost" in (found.exception or "")
    assert len(lines(ran)) == 3
    eventually(lambda: nothing_waits(redis_server), 30)
    assert TaskResult.objects.get(task_id=poison.id).status == "FAILURE"
    done(ops, Discard((found.pk,)))
