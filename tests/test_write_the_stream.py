"""The recorder's writer: never in the way, nothing lost while Redis is away, everything numbered."""

from __future__ import annotations

import json
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nightdesk import Options
from nightdesk.entry import decode
from nightdesk.writer import ENTRY_EVENTS, StreamWriter, cut_into_entries
from tests.harness import RedisServer, eventually

STREAM = "nightdesk:test"


@pytest.fixture
def own_redis() -> Iterator[RedisServer]:
    """A Redis that a test may stop."""
    server = RedisServer(Path(tempfile.mkdtemp(prefix="nd-w-")))
    server.start()
    yield server
    server.stop()


def written(server: RedisServer) -> list[dict[str, Any]]:
    """All events of the stream, each with its number; fails if an entry can't be read."""
    events = []
    with server.client() as client:
        reply: Any = client.xrange(STREAM)
        for stream_id, fields in reply:
            entry = decode(stream_id.decode(), fields)
            for seq, event in enumerate(json.loads(entry.events), entry.first_seq):
                events.append({**event, "seq": seq, "producer": entry.producer})
    return events


def test_events_arrive_in_order_and_numbered(own_redis: RedisServer) -> None:
    writer = StreamWriter(Options(url=own_redis.url, stream=STREAM))
    for n in range(1000):
        writer.put({"n": n})
    assert writer.drain(10)
    events = written(own_redis)
    assert [event["n"] for event in events] == list(range(1000))
    assert [event["seq"] for event in events] == list(range(1, 1001))


def test_threads_write_without_losing_a_number(own_redis: RedisServer) -> None:
    writer = StreamWriter(Options(url=own_redis.url, stream=STREAM))

    def write() -> None:
        for n in range(500):
            writer.put({"n": n})

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert writer.drain(10)
    assert [event["seq"] for event in written(own_redis)] == list(range(1, 2001))


def test_what_is_put_while_redis_is_away_arrives_when_it_is_back(own_redis: RedisServer) -> None:
    writer = StreamWriter(Options(url=own_redis.url, stream=STREAM))
    writer.put({"n": 0})
    eventually(lambda: len(written(own_redis)) == 1)
    own_redis.stop()
    for n in range(1, 300):
        writer.put({"n": n})
    own_redis.start()
    eventually(lambda: {event["n"] for event in written(own_redis)} >= set(range(1, 300)))


def test_a_buffer_that_overflows_drops_the_oldest_and_the_numbers_tell(own_redis: RedisServer) -> None:
    own_redis.stop()
    writer = StreamWriter(Options(url=own_redis.url, stream=STREAM, buffer_bytes=2000))
    for n in range(200):
        writer.put({"n": n, "text": "x" * 20})
    own_redis.start()
    assert writer.drain(20)
    events = written(own_redis)
    assert events[-1]["n"] == 199
    assert events[0]["seq"] == events[0]["n"] + 1 == 200 - len(events) + 1
    assert writer.dropped == 200 - len(events) > 0


def test_a_fork_is_a_producer_of_its_own(own_redis: RedisServer) -> None:
    writer = StreamWriter(Options(url=own_redis.url, stream=STREAM))
    writer.put({"who": "parent"})
    assert writer.drain(5)
    child = os.fork()
    if child == 0:
        writer.put({"who": "child"})
        os._exit(0 if writer.drain(5) else 1)
    assert os.waitpid(child, 0)[1] == 0
    writer.put({"who": "parent"})
    assert writer.drain(5)
    events = written(own_redis)
    parents = [event for event in events if event["who"] == "parent"]
    children = [event for event in events if event["who"] == "child"]
    assert [event["seq"] for event in parents] == [1, 2]
    assert [event["seq"] for event in children] == [1]
    assert parents[0]["producer"] != children[0]["producer"]


def test_it_learns_how_far_its_clock_is_off(own_redis: RedisServer) -> None:
    writer = StreamWriter(Options(url=own_redis.url, stream=STREAM), clock=lambda: time.time() - 3600)
    writer.put({})
    assert writer.drain(5)
    assert abs(writer.now() - time.time()) < 60


def test_entries_are_bounded() -> None:
    entries = cut_into_entries(5, ["x"] * (ENTRY_EVENTS * 2 + 1))
    assert [(first, len(events)) for first, events in entries] == [
        (5, ENTRY_EVENTS),
        (5 + ENTRY_EVENTS, ENTRY_EVENTS),
        (5 + 2 * ENTRY_EVENTS, 1),
    ]
    assert len(cut_into_entries(1, ["x" * 600_000] * 3)) == 3


@pytest.mark.parametrize("wrong", [{"linger": -1}, {"buffer_bytes": 0}, {"stream_cap": 10}])
def test_wrong_options_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="should"):
        Options(url="redis://localhost", **wrong)


def test_the_stream_never_grows_beyond_its_cap(own_redis: RedisServer) -> None:
    writer = StreamWriter(Options(url=own_redis.url, stream=STREAM, stream_cap=1000, linger=0))
    with own_redis.client() as client:
        for _ in range(3000):
            client.xadd(STREAM, {"filler": "x"})
        writer.put({})
        assert writer.drain(5)
        length: Any = client.xlen(STREAM)
        assert length < 1300
