from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests import tasks
from workers.app import app
from workers.brokers import BrokerUnreachable, connect
from workers.brokers.redis import redis_address, waiting_since

NOW = 1_800_000_000.0


def test_depth_is_summed_over_all_priorities(redis_url: str) -> None:
    for priority in (0, 3, 5, 9, 9):
        tasks.add.apply_async((1, 1), queue="here", priority=priority)

    depths = connect(redis_url).sample(["here", "empty"])

    assert depths["here"].depth == 5
    assert depths["empty"].depth == 0
    assert depths["empty"].oldest_at is None


def test_the_oldest_message_tells_since_when_it_waits_whatever_its_priority(redis_url: str) -> None:
    before = datetime.now(UTC)
    tasks.add.apply_async((1, 1), queue="here", priority=0)
    after = datetime.now(UTC)
    while datetime.now(UTC) == after:
        pass
    tasks.add.apply_async((1, 1), queue="here", priority=9)

    oldest = connect(redis_url).sample(["here"])["here"].oldest_at

    slack = timedelta(seconds=0.1)  # the stamp is on Redis's clock
    assert oldest is not None
    assert before - slack <= oldest <= after + slack


def test_a_job_for_later_is_deep_but_not_late(redis_url: str) -> None:
    tasks.add.apply_async((1, 1), queue="here", countdown=3600)

    depth = connect(redis_url).sample(["here"])["here"]

    assert (depth.depth, depth.oldest_at) == (1, None)


def test_what_a_worker_holds_is_unacked(redis_url: str) -> None:
    broker = connect(redis_url)
    tasks.add.apply_async((1, 1), queue="here")
    assert broker.unacked() == 0
    with app.connection_for_write() as connection:
        channel: Any = connection.default_channel
        message = channel.basic_get("here")
        assert broker.unacked() == 1
        channel.basic_ack(message.delivery_tag)
    assert broker.unacked() == 0


def test_queues_that_nobody_declared_are_discovered(redis_url: str) -> None:
    tasks.add.apply_async((1, 1), queue="surprise")

    assert connect(redis_url).discover() == {"surprise"}


def test_a_broker_that_is_away_says_so(tmp_path: Path) -> None:
    broker = connect(f"unix://{tmp_path}/nobody.sock")

    for question in (lambda: broker.sample(["here"]), broker.unacked, broker.discover, broker.latency):
        with pytest.raises(BrokerUnreachable, match=r"nobody\.sock"):
            question()


def test_an_address_of_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="carrier-pigeon://"):
        connect("carrier-pigeon://roof")


def test_kombus_socket_address_is_read_as_redis_py_writes_it() -> None:
    assert redis_address("redis+socket:///a/b.sock?virtual_host=3") == "unix:///a/b.sock?db=3"
    assert redis_address("rediss://u:p@h:1/2") == "rediss://u:p@h:1/2"


@pytest.mark.parametrize(
    ("headers", "since"),
    [
        ({"nightdesk": {"at": NOW - 9}}, NOW - 9),
        ({"nightdesk": {"at": NOW - 9}, "eta": None}, NOW - 9),
        ({"nightdesk": {"at": NOW - 9}, "eta": datetime.fromtimestamp(NOW - 4, UTC).isoformat()}, NOW - 4),
        ({"nightdesk": {"at": NOW - 9}, "eta": datetime.fromtimestamp(NOW + 4, UTC).isoformat()}, None),
        ({"nightdesk": {"at": NOW - 9}, "eta": "soon"}, None),
        ({"nightdesk": {"at": "yesterday"}}, None),
        ({"nightdesk": None}, None),
        ({}, None),
    ],
)
def test_a_message_says_since_when_it_waits(headers: dict[str, object], since: float | None) -> None:
    assert waiting_since(json.dumps({"headers": headers, "body": ""}).encode(), NOW) == since


@pytest.mark.parametrize("message", [b"", b"[]", b"7", b"\xff", b'{"headers": []}'])
def test_a_message_that_is_no_job_says_nothing(message: bytes) -> None:
    assert waiting_since(message, time.time()) is None
