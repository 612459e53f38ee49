"""Who is there, and can the record be trusted."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from jobs.liveness import (
    Sight,
    WorkerState,
    heartbeat_state,
    is_unreachable,
    queue_state,
    slots_by_queue,
    verdict,
    worker_state,
    worker_states,
)
from jobs.models import Heartbeat, Worker

NOW = datetime(2026, 11, 21, 3, 2, 11, tzinfo=UTC)


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def worker(name: str = "w@h", silent: float = 0.0, **facts: Any) -> Worker:
    return Worker(id=facts.pop("id", 1), name=name, seen_at=ago(silent), online_at=ago(3600), **facts)


def heartbeat(silent: float) -> Heartbeat:
    return Heartbeat(name="monitor", at=ago(silent))


@pytest.mark.parametrize(
    ("silent", "state"),
    [(0, "online"), (5, "online"), (5.1, "late"), (30, "late"), (30.1, "dead"), (-3, "online")],
)
def test_a_worker_is_late_after_two_and_a_half_beats_and_dead_after_thirty_seconds(
    silent: float, state: str
) -> None:
    assert worker_state(worker(silent=silent), NOW) == state


def test_a_worker_that_beats_slowly_is_late_later() -> None:
    assert worker_state(worker(silent=20, freq=10.0), NOW) == "online"


def test_a_worker_that_said_goodbye_is_retired_however_long_ago() -> None:
    assert worker_state(worker(silent=1, offline_at=ago(1)), NOW) == "retired"


def test_workers_come_worst_first_without_the_retired() -> None:
    known = [
        worker("a", 0),
        worker("b", 60),
        worker("c", 10),
        worker("d", 1, offline_at=ago(1)),
        worker("e", 0),
    ]
    assert [(w.name, state) for w, state in worker_states(known, NOW)] == [
        ("b", "dead"),
        ("c", "late"),
        ("a", "online"),
        ("e", "online"),
    ]


def test_a_killed_worker_whose_name_has_come_back_is_not_missed() -> None:
    known = [worker("a", 60, id=1), worker("a", 0, id=2)]
    assert [(w.id, state) for w, state in worker_states(known, NOW)] == [(2, "online")]


def test_two_workers_of_one_name_that_both_live_are_both_shown() -> None:
    known = [worker("a", 1, id=1), worker("a", 0, id=2)]
    assert len(worker_states(known, NOW)) == 2


@pytest.mark.parametrize(
    ("silent", "state"), [(0, "online"), (15, "online"), (15.1, "late"), (35, "late"), (35.1, "dead")]
)
def test_a_process_that_must_be_there_is_late_and_then_dead(silent: float, state: str) -> None:
    assert heartbeat_state(heartbeat(silent), NOW) == state


def test_a_process_nobody_has_heard_of_has_never_been_there() -> None:
    assert heartbeat_state(None, NOW) == "never"


def sight(**facts: Any) -> Sight:
    whole: dict[str, Any] = {
        "anything_seen": True,
        "monitor": heartbeat(1),
        "broker_ok": True,
        "broker_since": ago(40),
        "lag": 0.2,
        "last_gap": None,
    }
    return Sight(**{**whole, **facts})


def test_all_is_quiet_since_the_last_gap() -> None:
    found = verdict(sight(last_gap=ago(500)), NOW)
    assert (found.word, found.since, found.reason) == ("quiet", ago(500), None)


def test_before_anything_was_ever_seen_we_are_ready() -> None:
    assert verdict(sight(anything_seen=False, monitor=None), NOW).word == "ready"


def test_a_silent_monitor_makes_us_blind_since_it_was_last_heard() -> None:
    found = verdict(sight(monitor=heartbeat(20)), NOW)
    assert (found.word, found.since, found.reason) == ("blind", ago(20), "monitor")


def test_jobs_without_a_monitor_make_us_blind_since_nobody_knows_when() -> None:
    found = verdict(sight(monitor=None), NOW)
    assert (found.word, found.since, found.reason) == ("blind", None, "monitor")


def test_a_broker_out_of_reach_makes_us_blind() -> None:
    found = verdict(sight(broker_ok=False), NOW)
    assert (found.word, found.since, found.reason) == ("blind", ago(40), "broker")


def test_a_broker_that_nobody_asked_is_not_out_of_reach() -> None:
    assert verdict(sight(broker_ok=None), NOW).word == "quiet"


def test_a_record_more_than_ten_seconds_behind_makes_us_blind() -> None:
    found = verdict(sight(lag=10.5), NOW)
    assert (found.word, found.since, found.reason) == ("blind", ago(10.5), "lag")
    assert verdict(sight(lag=10.0), NOW).word == "quiet"
    assert verdict(sight(lag=None), NOW).word == "quiet"


@pytest.mark.parametrize(
    ("facts", "state"),
    [
        ({"depth": None}, "unknown"),
        ({"depth": 3, "served": False}, "none"),
        ({"depth": 0, "served": False}, "idle"),
        ({"depth": 3, "oldest": 61.0}, "late"),
        ({"depth": 3, "oldest": 60.0}, "healthy"),
        ({"depth": 3, "oldest": 900.0, "target": None}, "healthy"),
        ({"depth": 0, "moving": True}, "healthy"),
        ({"depth": 0}, "idle"),
    ],
)
def test_how_a_queue_stands(facts: dict[str, Any], state: str) -> None:
    known: dict[str, Any] = {"depth": 0, "oldest": None, "target": 60.0, "served": True, "moving": False}
    assert queue_state(**{**known, **facts}) == state


def test_slots_of_a_queue_are_those_of_all_that_take_from_it() -> None:
    known = [
        worker(queues="high,default", slots=4),
        worker(queues="high", slots=2),
        worker(queues="low", slots=None),
        worker(queues=None, slots=8),
    ]
    assert slots_by_queue(known) == {"high": 6, "default": 4, "low": None}


@pytest.mark.parametrize(
    ("state", "pool", "asked", "told", "unreachable"),
    [
        ("online", "prefork", 60, 400, True),
        ("online", "threads", 60, None, True),
        ("online", "prefork", 60, 60, False),  # answered
        ("online", "prefork", 10, 400, False),  # its answer may be on the way
        ("online", "prefork", None, None, False),  # nobody has asked yet
        ("online", "solo", 60, 400, False),  # deaf while a job runs
        ("online", "gevent", 60, 400, False),
        ("online", None, 60, 400, False),  # nobody knows its pool
        ("late", "prefork", 60, 400, False),  # silence says more
        ("dead", "prefork", 60, 400, False),
    ],
)
def test_only_one_that_lives_and_could_have_answered_is_unreachable(
    state: WorkerState, pool: str | None, asked: float | None, told: float | None, unreachable: bool
) -> None:
    asked_at, told_at = (None if seconds is None else ago(seconds) for seconds in (asked, told))
    assert is_unreachable(state, pool, asked_at, told_at, NOW) is unreachable
