"""While the monitor catches up, we have been blind all the while, and not since a moving moment."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest

from jobs.liveness import behind_since, worker_states
from jobs.models import Cluster, Heartbeat, Worker
from jobs.seen import read_workers
from jobs.trust import read_trust, told_behind_since
from workers.monitor import rounds, sample

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


def later(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def test_a_monitor_that_catches_up_was_behind_all_the_while() -> None:
    first = behind_since(None, None, 3600.0, later(3600))
    assert first == NOON
    again = behind_since(first, later(3600), 1800.0, later(3605))
    assert again == NOON
    assert behind_since(again, later(3605), None, later(3610)) == NOON, "nobody can tell: it may still be"
    assert behind_since(again, later(3605), 10.0, later(3610)) is None


def test_a_monitor_that_was_away_is_behind_since_it_was_last_heard() -> None:
    read_some_before_it_said_so = 2400.0
    assert behind_since(None, NOON, read_some_before_it_said_so, later(3600)) == NOON


def test_a_monitor_that_falls_behind_while_it_is_heard_is_behind_since_the_first_unread_event() -> None:
    assert behind_since(None, later(-5), 12.0, NOON) == later(-12)


def tell(at: datetime, **detail: Any) -> None:
    text = orjson.dumps({"leading": True, **detail}).decode()
    Heartbeat.objects.update_or_create(
        name="monitor", defaults={"at": at, "host": "h", "pid": 1, "detail": text}
    )


@pytest.mark.django_db
def test_blind_since_stands_still_until_the_record_is_up_to_date() -> None:
    said = []
    for seconds, lag in ((3600, 3600.0), (3605, 1800.0), (3610, 11.0)):
        tell(later(seconds), lag=lag, behind_since=NOON.timestamp())
        found = read_trust(Cluster.DEFAULT_ID, later(seconds)).verdict(anything_seen=True)
        said.append((found.word, found.reason, found.since))
    assert said == [("blind", "lag", NOON)] * 3


@pytest.mark.django_db
def test_workers_are_not_dead_because_the_record_is_behind() -> None:
    tell(later(3600), lag=1800.0, behind_since=NOON.timestamp())
    Worker.objects.create(producer="p", name="w@h", seen_at=later(1798), online_at=NOON)
    trust = read_trust(Cluster.DEFAULT_ID, later(3600))
    assert [state for _, state in read_workers(Cluster.DEFAULT_ID, trust)] == ["online"]
    assert [state for _, state in worker_states(Worker.objects.all(), later(3600))] == ["dead"]


@pytest.mark.django_db
@pytest.mark.timeout(30)
def test_the_monitor_remembers_since_when_it_is_behind_until_it_is_not(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sample, "INTERVAL", 0.001)
    monkeypatch.setattr(rounds, "close_old_connections", lambda: None)  # it is this test's own
    lags, stop, said = iter([3600.0, 1800.0, None, 11.0, 0.0]), threading.Event(), []

    def sampled() -> None:
        monitor = Heartbeat.objects.get(name="monitor")
        said.append((told_behind_since(monitor), monitor.at))
        if len(said) == 5:
            stop.set()

    reader = sample.Reader(lambda: True, lambda: next(lags), lambda: 12.5, lambda: None)
    sample.Sampler(reader, sampled).run(stop)

    (first, at), *others, last = said
    assert first is not None
    assert abs(at - first - timedelta(hours=1)) < timedelta(seconds=1)
    assert [since for since, _ in others] == [first] * 3
    assert last[0] is None
