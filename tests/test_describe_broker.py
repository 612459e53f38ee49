"""What the broker tells of itself, and since when it is so."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from jobs.servers import ServerFacts, ServerSample, sample_of, sampled
from tests.harness import RedisServer
from tests.setups import WELL
from workers.brokers import BrokerUnreachable, connect
from workers.brokers.redis_facts import facts_of
from workers.monitor.pace import Pace
from workers.monitor.stream_look import StreamLook


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A Redis of this test's own: it changes settings. Its socket's path must be short."""
    server = RedisServer(tmp_path_factory.mktemp("r"), {"appendonly": "no", "save": "3600 1"})
    server.start()
    yield server
    server.stop()


def test_a_redis_tells_what_it_keeps_and_what_it_throws_away(server: RedisServer) -> None:
    with server.client() as client:
        client.config_set("maxmemory", "50mb")
        client.config_set("maxmemory-policy", "allkeys-lru")
    facts = connect(server.url).describe()
    assert facts.version is not None
    assert facts.version[0].isdigit()
    assert (facts.eviction, facts.max_memory, facts.evicted_keys) == ("allkeys-lru", 50 * 1024 * 1024, 0)
    assert (facts.append_only, facts.append_sync, facts.snapshots) == (False, "always", "3600 1")
    assert (facts.last_snapshot_ok, facts.last_append_ok) == (True, True)
    assert facts.used_memory is not None
    assert facts.used_memory > 0


def test_a_redis_that_keeps_its_settings_to_itself_tells_the_rest(server: RedisServer) -> None:
    with server.client() as client:
        client.acl_setuser("guest", enabled=True, nopass=True, keys="*", commands=["+@all", "-config"])
    facts = connect(f"{server.url.replace('unix://', 'unix://guest:any@')}").describe()
    assert (facts.append_sync, facts.snapshots) == (None, None)
    assert (facts.append_only, facts.eviction, facts.evicted_keys) == (False, "noeviction", 0)


def test_what_a_redis_does_not_say_is_unknown_not_zero() -> None:
    assert facts_of({}, {}, 0.0) == ServerFacts()


def test_a_redis_that_is_away_is_unreachable(tmp_path: Path) -> None:
    with pytest.raises(BrokerUnreachable):
        connect(f"unix://{tmp_path}/nobody.sock").describe()


def test_what_has_not_changed_is_so_since_it_was_first_seen() -> None:
    first = sampled(ServerFacts(eviction="noeviction", used_memory=1), 100.0, None)
    second = sampled(ServerFacts(eviction="noeviction", used_memory=2), 105.0, first)
    third = sampled(ServerFacts(eviction="allkeys-lru", used_memory=3), 110.0, second)
    assert [sample.since["eviction"] for sample in (first, second, third)] == [100.0, 100.0, 110.0]
    assert "used_memory" not in third.since


def test_a_sample_comes_back_from_where_it_is_kept() -> None:
    sample = ServerSample(WELL, 5.0, {"eviction": 3.0})
    assert sample_of(sample.as_json()) == sample
    assert sample_of(
        {"at": 5.0, "facts": {"version": "7.0", "colour": "red"}, "since": None}
    ) == ServerSample(ServerFacts(version="7.0"), 5.0, {})
    for nothing in (None, {}, "x", {"facts": 7}):
        assert sample_of(nothing) is None


def test_the_stream_tells_how_full_it_is(redis_url: str) -> None:
    client = redis.Redis.from_url(redis_url)
    look = StreamLook(client, "nightdesk:test", cap=1_000)
    assert look() == {"name": "nightdesk:test", "length": 0, "cap": 1_000}
    client.xadd("nightdesk:test", {"e": "1"})
    assert look() == {"name": "nightdesk:test", "length": 1, "cap": 1_000}


def test_a_stream_out_of_reach_is_unknown(tmp_path: Path) -> None:
    assert StreamLook(redis.Redis.from_url(f"unix://{tmp_path}/nobody.sock"), "s", 1_000)() is None


def test_the_pace_is_events_a_second_over_the_last_minute() -> None:
    now = [0.0]
    pace = Pace(clock=lambda: now[0])
    assert pace.per_second() is None
    told = []
    for events in (50, 50, *[0] * 13):
        now[0] += 5.0
        pace.count(events)
        told.append(pace.per_second())
    assert told[:2] == [10.0, 10.0]
    assert told[10] == pytest.approx(100 / 55)
    assert told[-1] == 0.0
