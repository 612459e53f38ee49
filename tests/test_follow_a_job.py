"""From an enqueue to a row: real workers, a real monitor, and what happens to them."""

from __future__ import annotations

import json
import signal
from typing import Any

import pytest

import nightdesk
from jobs.models import ENDED, Bucket, Gap, Job, Payload, Producer, Quarantine, Worker
from tests import tasks
from tests.harness import Installation, Process, eventually
from workers.app import app

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("published_from_here")]


@pytest.fixture
def worker(installation: Installation) -> Process:
    """A worker over two queues, with two slots."""
    return installation.worker("high,default", slots=2)


@pytest.fixture
def working(monitor: Process, worker: Process) -> None:
    """What it takes to run a job and to record it."""


def ended(count: int, timeout: float = 30.0) -> None:
    eventually(
        lambda: Job.objects.filter(state__in=ENDED).count() >= count,
        timeout,
        lambda: f"{count} jobs end; {list(Job.objects.values_list('task', 'state'))}",
    )


def ended_counts() -> int:
    return sum(b.succeeded + b.failed + b.revoked + b.rejected for b in Bucket.objects.filter(tier=60))


def test_a_job_is_followed_from_publish_to_result(working: None) -> None:
    sent = tasks.add.apply_async((2, 3), queue="high", priority=7)
    ended(1)
    job = Job.objects.get()
    assert (job.task_id, job.task, job.queue, job.priority) == (sent.id, "tests.tasks.add", "high", 7)
    assert (job.state, job.attempts, job.payload.result) == ("succeeded", 1, "5")
    assert json.loads(job.payload.body or "")[:2] == [[2, 3], {}]
    times = [job.published_at, job.received_at, job.started_at, job.ended_at]
    assert times == sorted(time for time in times if time is not None)
    assert None not in (job.wait, job.run, job.total)


def test_a_message_of_celerys_old_protocol_is_followed_too(working: None) -> None:
    message = app.amqp.as_task_v1("an-old-one", "tests.tasks.add", (2, 3))
    with app.producer_or_acquire() as producer:
        app.amqp.send_task_message(producer, "tests.tasks.add", message, queue="default")
    ended(1)
    job = Job.objects.get()
    assert (job.task_id, job.task, job.queue, job.state) == (
        "an-old-one",
        "tests.tasks.add",
        "default",
        "succeeded",
    )
    assert (json.loads(job.payload.args or ""), job.payload.result) == ([2, 3], "5")
    assert None not in (job.published_at, job.started_at, job.wait)
    assert not Quarantine.objects.exists()


def test_attempts_are_kept_each_with_its_own_error(working: None) -> None:
    tasks.succeed_at.delay(2)
    ended(1)
    job = Job.objects.get()
    attempts = list(job.timeline.all())
    assert [attempt.state for attempt in attempts] == ["retrying", "retrying", "succeeded"]
    assert [attempt.retries for attempt in attempts] == [0, 1, 2]
    assert all("partner is away" in (a.exception or "") for a in attempts[:2])
    assert (job.state, job.attempts, job.exception) == ("succeeded", 3, None)
    assert sum(b.retried for b in Bucket.objects.filter(tier=60)) == 2


def test_secrets_never_reach_the_record(working: None) -> None:
    tasks.fail_with.delay("Bearer abcdefgh12345678", api_key="hunter2")
    ended(1)
    payload, attempt = Payload.objects.get(), Job.objects.get().timeline.get()
    stored = f"{vars(payload)} {vars(attempt)} {vars(Job.objects.get())}"
    assert "hunter2" not in stored
    assert "abcdefgh12345678" not in stored
    assert (payload.body, payload.withheld) == (None, "redacted")


def test_custom_states_reach_the_record_while_the_job_runs(working: None, tmp_path: Any) -> None:
    tasks.render_until.delay(str(tmp_path / "go"))
    eventually(lambda: Payload.objects.exclude(progress=None).exists())
    progress = json.loads(Payload.objects.get().progress or "")
    assert (progress["state"], progress["meta"]) == ("RENDERING", {"current": 1, "total": 4})
    # The pool's process tells its progress, the worker itself that it has begun.
    eventually(lambda: Job.objects.get().state == "running")
    (tmp_path / "go").touch()
    ended(1)


def test_a_task_that_no_worker_knows_fails_and_says_so(working: None) -> None:
    app.send_task("nobody.knows.this")
    ended(1)
    job = Job.objects.get()
    assert (job.task, job.state) == ("nobody.knows.this", "failed")
    assert "NotRegistered" in (job.exception or "")


def test_a_revoked_job_is_revoked_and_counted(working: None, tmp_path: Any) -> None:
    running = tasks.sleep_until.delay(str(tmp_path / "never"), 30)
    eventually(lambda: Job.objects.filter(state="running").exists())
    app.control.terminate(running.id, signal="SIGKILL")
    ended(1)
    assert Job.objects.get().state == "revoked"
    assert sum(b.revoked for b in Bucket.objects.filter(tier=60)) == 1


@pytest.mark.slow
def test_nothing_is_lost_while_the_monitor_is_away(
    installation: Installation, monitor: Process, worker: Process
) -> None:
    for n in range(20):
        tasks.add.delay(n, n)
    ended(20)
    monitor.kill()
    for n in range(30):
        tasks.add.delay(n, n)
    eventually(lambda: _drained(installation), 30)
    installation.monitor()
    ended(50)
    assert Job.objects.filter(state="succeeded").count() == ended_counts() == 50
    assert not Gap.objects.exists()


def _drained(installation: Installation) -> bool:
    with installation.redis.client() as client:
        return not client.exists("default") and not client.hlen("unacked")


@pytest.mark.slow
def test_two_monitors_count_each_job_once(
    installation: Installation, monitor: Process, worker: Process
) -> None:
    monitors = (monitor, installation.monitor())
    eventually(lambda: any("stands by" in one.text() for one in monitors))
    for n in range(40):
        tasks.add.delay(n, n)
    ended(40)
    assert ended_counts() == 40


def test_a_worker_that_leaves_says_so(monitor: Process, worker: Process) -> None:
    eventually(lambda: Worker.objects.filter(offline_at=None).exists())
    known = Worker.objects.get()
    assert (known.slots, known.queues, known.pid) == (2, "default,high", worker.pid)
    worker.send(signal.SIGTERM)
    worker.wait()
    eventually(lambda: Worker.objects.exclude(offline_at=None).exists())


def test_events_without_sense_do_not_stop_the_others(installation: Installation, working: None) -> None:
    nightdesk.emit("task-sent", uuid="x" * 300)
    nightdesk.emit("job-progress", uuid=7)
    with installation.redis.client() as client:
        client.xadd("nightdesk:events", {"who": "knows"})
    tasks.add.delay(1, 2)
    ended(1)
    eventually(lambda: sum(row.count for row in Quarantine.objects.all()) == 3)
    assert not Producer.objects.filter(lost__gt=0).exists()
