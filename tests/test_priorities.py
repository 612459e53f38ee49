from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from kombu import Connection

from tests import tasks
from tests.harness import Installation, eventually
from tests.working import lines, worker
from workers.app import app
from workers.brokers.transport import Transport


def test_the_most_urgent_job_overtakes_those_before_it_in_every_queue(
    installation: Installation, tmp_path: Path
) -> None:
    ran = tmp_path / "ran"
    wishes = [(priority, queue) for priority in range(10) for queue in ("high", "low")]
    random.shuffle(wishes)
    for priority, queue in wishes:
        tasks.note.apply_async((str(ran), str(priority)), priority=priority, queue=queue)

    worker(installation, "high,low")

    eventually(lambda: len(lines(ran)) == len(wishes), message="all jobs ran")
    assert [int(line) for line in lines(ran)] == sorted((priority for priority, _ in wishes), reverse=True)


def test_a_retry_keeps_its_priority(installation: Installation, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    tasks.note_and_retry.apply_async((str(ran), "urgent", 2), priority=8)
    tasks.note_and_retry.apply_async((str(ran), "usual", 1))

    worker(installation)

    eventually(lambda: len(lines(ran)) == 5, message="all attempts ran")
    assert lines(ran) == ["urgent 0 8", "urgent 1 8", "urgent 2 8", "usual 0 5", "usual 1 5"]


@pytest.mark.parametrize(
    "url", ["redis://h:6379/0", "rediss://h:6379/0", "redis+socket:///r.sock?virtual_host=1"]
)
def test_each_redis_address_means_our_transport(url: str) -> None:
    assert Connection(url).get_transport_cls() is Transport


def test_a_message_put_back_goes_to_the_list_it_came_from(redis_url: str) -> None:
    tasks.add.apply_async((1, 2), priority=9, queue="back")
    with app.connection_for_write() as connection:
        channel: Any = connection.default_channel
        message = channel.basic_get("back")
        assert message is not None
        channel.basic_reject(message.delivery_tag, requeue=True)
        assert channel.client.llen("back") == 1
