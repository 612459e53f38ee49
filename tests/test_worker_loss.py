from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
from billiard.exceptions import WorkerLostError
from django.conf import settings

from tests import tasks
from tests.harness import Installation, RedisServer, eventually
from tests.working import lines, worker
from workers.app import app
from workers.brokers import connect


def test_a_job_that_kills_its_process_runs_again_so_often_and_then_fails(
    installation: Installation, tmp_path: Path
) -> None:
    ran = tmp_path / "ran"
    worker(installation, WORKER_LOST_RETRIES="1")
    poison = tasks.die.delay(str(ran))

    with pytest.raises(WorkerLostError):
        poison.get(timeout=60)

    assert lines(ran) == ["died 0", "died 1"]
    assert tasks.add.delay(1, 2).get(timeout=20) == 3
    assert connect(settings.REDIS_URL).unacked() == 0


def test_a_job_whose_process_is_killed_once_succeeds_in_the_end(
    installation: Installation, tmp_path: Path
) -> None:
    pid, done = tmp_path / "pid", tmp_path / "done"
    worker(installation)
    job = tasks.tell_pid_and_wait.delay(str(pid), str(done))
    first = eventually(lambda: lines(pid))[0]

    os.kill(int(first), signal.SIGKILL)
    eventually(lambda: len(lines(pid)) == 2, message="it runs again")
    done.touch()

    assert job.get(timeout=20) == 1  # the number of the attempt


@pytest.mark.slow
def test_a_stop_that_takes_too_long_puts_the_job_back(installation: Installation, tmp_path: Path) -> None:
    pid, done = tmp_path / "pid", tmp_path / "done"
    stopping = worker(installation, STOP_GRACE="1")
    tasks.tell_pid_and_wait.delay(str(pid), str(done))
    eventually(lambda: lines(pid))

    stopping.send(signal.SIGTERM)
    stopping.wait(20)
    broker = connect(settings.REDIS_URL)
    assert (broker.sample(["default"])["default"].depth, broker.unacked()) == (1, 0)


@pytest.mark.slow
def test_a_worker_outlives_its_broker_and_its_job_runs_once(
    installation: Installation, redis_server: RedisServer, tmp_path: Path
) -> None:
    pid, done = tmp_path / "pid", tmp_path / "done"
    staying = worker(installation)
    job = tasks.tell_pid_and_wait.delay(str(pid), str(done))
    eventually(lambda: lines(pid))

    redis_server.kill()
    staying.says("Connection to broker lost")
    redis_server.start()
    broker = connect(settings.REDIS_URL)
    assert broker.unacked() == 1

    done.touch()
    eventually(lambda: broker.unacked() == 0, 40, lambda: staying.text()[-3000:])
    assert job.get(timeout=20) == 0
    assert tasks.add.delay(1, 2).get(timeout=20) == 3
    assert len(lines(pid)) == 1


def test_an_acknowledgement_over_a_lost_connection_is_made_up_for(
    redis_server: RedisServer, redis_url: str
) -> None:
    tasks.add.apply_async((1, 2), queue="here")
    broker = connect(redis_url)
    with app.connection_for_read() as lost:
        channel: Any = lost.default_channel
        message = channel.basic_get("here")
        redis_server.kill()
        lost.collect()
        channel.basic_ack(message.delivery_tag)
    redis_server.start()
    assert broker.unacked() == 1

    with app.connection_for_read() as new:
        channel = new.default_channel
        channel.qos.restore_visible()

    assert broker.unacked() == 0
    assert broker.sample(["here"])["here"].depth == 0
