"""What makes a job orphaned, stuck or lost, and each way in which that could be a false alarm."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.adrift.rules import (
    Finding,
    OpenJob,
    QueueEvidence,
    Usual,
    limit_of,
    lost,
    orphaned,
    stuck,
    waits_untouched,
)
from jobs.liveness import worker_state
from jobs.models import Worker
from jobs.worker_facts import setup_of, worker_facts
from tests.setups import EARLY, LATE

NOW = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)
MIXED = {**LATE, "tasks": {"total": 4, "late": 2}}
RABBIT = {**LATE, "transport": "amqp", "visibility_timeout": None, "rabbitmq": {"version": "4.1.0"}}


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def worker(
    silent: float = 0.0, up: float = 9_000.0, setup: dict[str, Any] | None = LATE, **facts: Any
) -> Worker:
    """An incarnation of w@h that was last heard `silent` seconds ago and began `up` seconds ago."""
    known = {"name": "w@h", "queues": "high", "events": True, "faults": 0, "dropped": 0, "busy": 1, **facts}
    told = None if setup is None else worker_facts({"setup": setup})["setup"]
    return Worker(seen_at=ago(silent), online_at=ago(up), setup=told, **known)


def left(seconds: float, **facts: Any) -> Worker:
    return worker(seconds, offline_at=ago(seconds), **facts)


def running(seconds: float = 600.0, **facts: Any) -> OpenJob:
    known = {"task": "shop.pay", "queue": "high", "worker": "w@h", "attempts": 1, "state": "running"}
    taken = {"received_at": ago(seconds), "started_at": ago(seconds)}
    return OpenJob(id=1, task_id="j", **{**known, **taken, **facts})


def waiting(seconds: float = 9_000.0, **facts: Any) -> OpenJob:
    known = {"task": "shop.pay", "queue": "high", "state": "queued", "published_at": ago(seconds)}
    return OpenJob(id=1, task_id="j", **{**known, **facts})


def evidence(*readers: Worker, **facts: Any) -> QueueEvidence:
    known: dict[str, Any] = {"emptied_at": ago(70), "paused": False, "complete": True, "passed": True}
    there = [(one, worker_state(one, NOW)) for one in readers or (worker(),)]
    return QueueEvidence(readers=there, **{**known, **facts})


# Orphaned


def test_a_job_whose_worker_was_killed_is_orphaned_since_that_was_heard() -> None:
    found = orphaned(running(600), [worker(silent=90)], NOW)
    assert found == Finding("orphaned", ago(90), "again", ago(600) + timedelta(seconds=3600))


@pytest.mark.parametrize(
    "incarnations",
    [
        pytest.param([], id="nobody of that name is known"),
        pytest.param([worker()], id="its worker lives"),
        pytest.param([worker(silent=20)], id="its worker is late"),
        pytest.param([worker(silent=45)], id="its worker is only just silent"),
        pytest.param([worker(silent=90, setup=None)], id="nobody knows what pool is silent"),
        pytest.param([worker(silent=900, setup={**LATE, "pool": "solo"})], id="a solo worker is deaf"),
        pytest.param([worker(silent=900, setup={**LATE, "pool": "gevent"})], id="greenlets may be blocked"),
        pytest.param([left(1_200)], id="it said goodbye, and its last jobs may be ending"),
        pytest.param([left(300), worker(up=200)], id="its successor runs beside its last jobs"),
        pytest.param([worker(silent=90, up=200)], id="it came after the job was taken"),
        pytest.param([worker(silent=90), worker(up=8_000)], id="another one of its name may have it"),
    ],
)
def test_a_job_that_may_still_be_at_work_is_not_orphaned(incarnations: list[Worker]) -> None:
    assert orphaned(running(600), incarnations, NOW) is None


def test_a_job_whose_receipt_nobody_told_is_not_judged() -> None:
    assert orphaned(running(received_at=None, started_at=None), [worker(silent=90)], NOW) is None


@pytest.mark.parametrize("state", ["queued", "scheduled", "retrying", "succeeded", "failed"])
def test_only_a_job_that_a_worker_holds_can_be_orphaned(state: str) -> None:
    assert orphaned(running(state=state), [worker(silent=90)], NOW) is None


@pytest.mark.parametrize("setup", [LATE, {**LATE, "pool": "solo"}, None])
def test_a_successor_shows_that_a_silent_worker_is_gone_whatever_its_pool(setup: dict[str, Any]) -> None:
    found = orphaned(running(600), [worker(silent=90, setup=setup), worker(up=60)], NOW)
    assert found is not None
    assert found.since == ago(90)


def test_a_worker_that_said_goodbye_long_ago_orphans_what_it_never_told_the_end_of() -> None:
    assert orphaned(running(5_000), [left(3_700)], NOW) == Finding("orphaned", ago(3_700), "unknown")
    assert orphaned(running(5_000), [left(700), worker(up=600)], NOW) == Finding("orphaned", ago(700))


@pytest.mark.parametrize(
    ("facts", "setup", "comes"),
    [
        ({}, LATE, "again"),
        ({}, EARLY, "never"),
        ({}, MIXED, "unknown"),
        ({"task": None}, EARLY, "unknown"),
        ({"task": "celery.chord_unlock"}, EARLY, "unknown"),
        ({"state": "received"}, EARLY, "again"),
        ({"state": "received"}, MIXED, "again"),
        ({}, {**LATE, "tasks": {}}, "unknown"),
        ({}, {**LATE, "transport": None}, "unknown"),
        ({}, RABBIT, "again"),
    ],
)
def test_what_comes_next_depends_on_when_its_message_is_acknowledged(
    facts: dict[str, Any], setup: dict[str, Any], comes: str
) -> None:
    found = orphaned(running(**facts), [worker(silent=90, setup=setup)], NOW)
    assert found is not None
    assert found.next == comes


def test_redis_hands_it_out_again_after_its_time_and_rabbitmq_tells_none() -> None:
    on_redis = orphaned(running(600), [worker(silent=90)], NOW)
    on_rabbit = orphaned(running(600), [worker(silent=90, setup=RABBIT)], NOW)
    assert (on_redis and on_redis.again_at, on_rabbit and on_rabbit.again_at) == (ago(600 - 3600), None)


def test_what_was_to_be_handed_out_again_and_was_not_is_overdue() -> None:
    due = orphaned(running(4_000), [worker(silent=90)], NOW)
    overdue = orphaned(running(4_300), [worker(silent=90)], NOW)
    assert (due and due.next, overdue and overdue.next) == ("again", "overdue")
    rabbit = orphaned(running(4_000), [worker(silent=700, setup=RABBIT)], NOW)
    assert rabbit is not None
    assert rabbit.next == "overdue"


@given(
    silent=st.floats(0, 9_000),
    goodbye=st.booleans(),
    up=st.floats(0, 9_000),
    setup=st.sampled_from([LATE, EARLY, RABBIT, None]),
    taken=st.floats(0, 9_000),
)
def test_no_job_is_orphaned_while_the_only_worker_that_can_have_it_is_heard(
    silent: float, goodbye: bool, up: float, setup: dict[str, Any] | None, taken: float
) -> None:
    alive = worker(silent=min(silent, 30.0), up=max(up, taken), setup=setup)
    gone = worker(silent, up=max(up, silent), setup=setup, offline_at=ago(silent) if goodbye else None)
    assert orphaned(running(taken), [alive, gone], NOW) is None
    assert orphaned(running(taken), [gone, alive], NOW) is None


# Stuck

USUAL = Usual(p99=120.0, count=500)


def test_a_job_that_runs_ten_times_as_long_as_others_is_stuck() -> None:
    endless = {**LATE, "tasks": {"total": 4, "late": 2}}
    found = stuck(running(1_300), [worker(setup=endless)], USUAL, NOW)
    assert found == Finding("stuck", ago(1_300), "runs", usual=120.0)


@pytest.mark.parametrize(
    ("ran", "usual"),
    [
        pytest.param(1_100, USUAL, id="not that long"),
        pytest.param(590, Usual(0.1, 500), id="ten minutes are nothing"),
        pytest.param(9_000, Usual(120.0, 49), id="too few have ended to tell"),
        pytest.param(9_000, Usual(), id="none has ever ended"),
    ],
)
def test_a_job_that_merely_takes_its_time_is_not_stuck(ran: float, usual: Usual) -> None:
    assert stuck(running(ran), [worker(setup=MIXED)], usual, NOW) is None


@pytest.mark.parametrize(
    "incarnations",
    [
        pytest.param([], id="its worker is not known"),
        pytest.param([worker(silent=12)], id="its worker is late"),
        pytest.param([worker(silent=90)], id="its worker is gone"),
        pytest.param([worker(busy=0)], id="its worker runs nothing: its end was not heard"),
        pytest.param([worker(busy=None)], id="its worker does not say what it runs"),
        pytest.param([worker(), worker(up=8_000)], id="two may have it"),
    ],
)
def test_a_job_is_stuck_only_on_a_worker_that_surely_runs_it(incarnations: list[Worker]) -> None:
    assert stuck(running(3_000), incarnations, Usual(1.0, 500), NOW) is None


def test_a_job_beyond_the_longest_limit_of_its_worker_is_stuck() -> None:
    short = Usual(300.0, 500)
    assert stuck(running(1_010), [worker()], short, NOW) is None
    assert stuck(running(1_030), [worker()], short, NOW) == Finding("stuck", ago(1_030), "runs", usual=300.0)


def test_a_task_whose_callers_give_it_more_time_is_not_stuck_at_the_limit_of_others() -> None:
    assert stuck(running(1_030), [worker()], Usual(800.0, 500), NOW) is None
    assert stuck(running(1_030), [worker()], Usual(), NOW) is None, "nobody knows what callers give it"


@pytest.mark.parametrize(
    ("setup", "limit"),
    [
        (LATE, 900.0),
        ({**LATE, "pool": "threads"}, None),
        ({**LATE, "pool": None}, None),
        ({**LATE, "tasks": {**LATE["tasks"], "late_unlimited": 1}}, None),
        ({**LATE, "tasks": {**LATE["tasks"], "total": 5}}, None),
        (EARLY, None),
    ],
)
def test_a_limit_is_one_that_holds_for_every_task_and_that_the_pool_enforces(
    setup: dict[str, Any], limit: float | None
) -> None:
    assert limit_of(setup_of(orjson.dumps({"tasks": {}, **setup}).decode())) == limit


# Lost


def test_a_job_that_others_have_passed_in_a_queue_that_was_empty_is_lost() -> None:
    assert lost(waiting(), evidence(), NOW) == Finding("lost", ago(9_000), "gone")


@pytest.mark.parametrize(
    "job",
    [
        pytest.param(waiting(eta=ago(-60)), id="it waits for its eta"),
        pytest.param(waiting(eta=ago(600)), id="its eta has passed: a worker may hold it"),
        pytest.param(waiting(attempts=1), id="it was taken before, and put back"),
        pytest.param(waiting(state="scheduled"), id="scheduled"),
        pytest.param(waiting(state="retrying"), id="it waits for another attempt"),
        pytest.param(waiting(state="received"), id="a worker holds it"),
        pytest.param(waiting(published_at=None), id="nobody knows since when it waits"),
        pytest.param(waiting(4_000), id="a worker that is gone may still hold it unseen"),
        pytest.param(waiting(60), id="it is young"),
    ],
)
def test_a_job_that_may_yet_be_taken_is_not_lost(job: OpenJob) -> None:
    assert lost(job, evidence(), NOW) is None


@pytest.mark.parametrize(
    "known",
    [
        pytest.param(None, id="its queue was never sampled"),
        pytest.param(evidence(emptied_at=None), id="its queue was not seen empty"),
        pytest.param(evidence(emptied_at=ago(10)), id="what was taken just now may not be recorded yet"),
        pytest.param(evidence(emptied_at=ago(8_000)), id="it was empty before a holder gave it back"),
        pytest.param(evidence(paused=True), id="its queue is paused"),
        pytest.param(evidence(complete=False), id="events are missing in the record"),
        pytest.param(evidence(passed=False), id="nothing that came later was taken"),
        pytest.param(evidence(worker(silent=90)), id="nobody reads it"),
        pytest.param(evidence(worker(up=600)), id="its reader has only just come"),
        pytest.param(evidence(worker(), worker(silent=5_000, events=False)), id="one told no events"),
        pytest.param(evidence(worker(events=None)), id="nobody knows whether it tells events"),
        pytest.param(evidence(worker(dropped=1)), id="one dropped events"),
        pytest.param(evidence(worker(faults=1)), id="a recorder had a fault"),
        pytest.param(evidence(worker(setup=None)), id="nobody knows how long one may hold a message"),
        pytest.param(
            evidence(worker(setup={**LATE, "visibility_timeout": 8_200.0})), id="one may hold it for longer"
        ),
        pytest.param(
            evidence(worker(setup={**LATE, "visibility_timeout": None})), id="a broker that nobody knows"
        ),
    ],
)
def test_what_is_not_known_for_sure_is_not_told_as_lost(known: QueueEvidence | None) -> None:
    assert lost(waiting(), known, NOW) is None


def test_rabbitmq_takes_a_message_back_at_its_consumer_timeout() -> None:
    patient = {**RABBIT, "rabbitmq": {"consumer_timeout": 8_500.0}}
    assert lost(waiting(2_900), evidence(worker(setup=RABBIT)), NOW) is not None
    assert lost(waiting(), evidence(worker(setup=patient)), NOW) is None


@given(
    age=st.floats(0, 20_000),
    emptied=st.floats(0, 20_000),
    held=st.sampled_from([60.0, 3_600.0, 10_000.0]),
    attempts=st.integers(0, 1),
)
def test_no_job_is_lost_that_could_have_come_back_after_its_queue_was_seen_empty(
    age: float, emptied: float, held: float, attempts: int
) -> None:
    job = waiting(age, attempts=attempts)
    reader = worker(up=30_000, setup={**LATE, "visibility_timeout": held})
    found = lost(job, evidence(reader, emptied_at=ago(emptied)), NOW)
    if found is not None:
        assert waits_untouched(job)
        assert age - emptied >= held + 900
        assert emptied >= 60
        assert lost(replace(job, state="received"), evidence(reader, emptied_at=ago(emptied)), NOW) is None
