"""Events in any order, twice or not at all, end in the same job."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.events import JobEvent, Odd, WorkerEvent, parse
from jobs.lifecycle import ENDS, LASTING_FACTS, PUBLISH_FACTS, STEPS, Job, advance, fold
from jobs.rollups import Deltas, Tally, counted

START = 1_790_000_000.0


def event(kind: str, at: float = 0.0, retries: int | None = 0, delivery: int = 1, **facts: Any) -> JobEvent:
    return JobEvent(kind, "id", START + at, "w1@host", retries, 0 if kind == "sent" else delivery, **facts)


@st.composite
def events_of_a_job(draw: st.DrawFn) -> list[JobEvent]:
    """What may be told of one job: several attempts and deliveries, with contradictions."""
    kinds = st.sampled_from(sorted(STEPS))
    seconds = st.integers(-3600, 3600).map(float)
    told = draw(
        st.lists(
            st.tuples(
                kinds, seconds, st.integers(0, 2), st.integers(0, 2), st.one_of(st.none(), st.floats(0, 9))
            ),
            max_size=12,
        )
    )
    sent = draw(st.lists(st.tuples(seconds, st.integers(0, 2)), max_size=3))
    return [
        *(event("sent", at, retries, task="t", queue="q", eta=START + at + 5) for at, retries in sent),
        *(event("received", at, n, n % 2, eta=START + at + n, published_at=START + at) for at, n in sent),
        *(
            event(
                kind,
                at,
                retries,
                delivery,
                **({"exception": f"E{at}", "run": run} if run is not None else {}),
            )
            for kind, at, retries, delivery, run in told
        ),
    ]


@given(events_of_a_job(), st.randoms(use_true_random=False))
def test_any_order_gives_the_same_job(events: list[JobEvent], random: Any) -> None:
    shuffled = list(events)
    random.shuffle(shuffled)
    assert fold(None, "id", shuffled) == fold(None, "id", events)


@given(events_of_a_job(), st.randoms(use_true_random=False))
def test_events_told_twice_change_nothing(events: list[JobEvent], random: Any) -> None:
    repeated = events + random.sample(events, len(events) // 2)
    random.shuffle(repeated)
    assert fold(None, "id", repeated) == fold(None, "id", events)


@given(events_of_a_job(), st.integers(0, 15))
def test_a_job_cut_into_batches_is_the_same_job(events: list[JobEvent], cut: int) -> None:
    first = fold(None, "id", events[:cut])
    assert fold(first, "id", events[cut:]) == fold(None, "id", events)


@given(events_of_a_job())
def test_within_an_attempt_a_rank_is_never_taken_back(events: list[JobEvent]) -> None:
    job: Job | None = None
    for told in events:
        before = {key: attempt.rank for key, attempt in job.attempts.items()} if job else {}
        job = advance(job, told)
        assert all(job.attempts[key].rank >= rank for key, rank in before.items())


@given(events_of_a_job(), st.randoms(use_true_random=False))
def test_counters_moved_step_by_step_equal_a_recount(events: list[JobEvent], random: Any) -> None:
    random.shuffle(events)
    changes, job = [], None
    for told in events:
        after = advance(job, told)
        changes.append((counted(job), counted(after)))
        job = after
    assert _not_empty(Deltas.of(changes)) == _not_empty(Deltas.of([((), counted(job))]))


def _not_empty(deltas: Deltas) -> dict[Any, Any]:
    return {key: _content(tally) for key, tally in deltas.items() if _content(tally) != _content(Tally())}


def _content(tally: Tally) -> tuple[dict[str, int], Any]:
    return tally.counts, json.loads(tally.sketches.dumps())


@pytest.mark.parametrize("name", LASTING_FACTS)
def test_of_a_lasting_fact_the_smaller_one_told_stays(name: str) -> None:
    facts: list[dict[str, Any]] = [{name: value} for value in ("b", "a", "c", None)]
    told = [event("sent", retries=n, **fact) for n, fact in enumerate(facts)]
    assert getattr(fold(None, "id", told), name) == "a"


@pytest.mark.parametrize("name", PUBLISH_FACTS)
def test_where_a_job_is_its_latest_publish_tells(name: str) -> None:
    facts: list[tuple[int, dict[str, Any]]] = [(n, {name: value}) for n, value in [(0, 2), (2, 3), (1, 1)]]
    told = [*(event("sent", retries=n, **fact) for n, fact in facts), event("sent", retries=3)]
    assert getattr(fold(None, "id", told), name) == 3


def test_advance_leaves_the_given_job_as_it_is() -> None:
    job = advance(None, event("received"))
    untouched = deepcopy(job)
    advance(job, event("succeeded", 3))
    assert job == untouched


def test_a_late_publish_after_the_end_does_not_reopen_the_job() -> None:
    job = fold(None, "id", [event("received"), event("started", 1), event("succeeded", 2), event("sent", -1)])
    assert (job.state, job.ended_at, job.total) == ("succeeded", START + 2, 3.0)


def test_rejection_after_a_failure_stays_a_failure() -> None:
    job = fold(None, "id", [event("failed", 1, exception="E"), event("rejected", 2)])
    assert job.state == "failed"


def test_a_retry_waits_between_its_attempts() -> None:
    first = [event("sent"), event("received", 1), event("started", 2), event("retried", 3, exception="E")]
    waiting = fold(None, "id", [*first, event("sent", 3, retries=1)])
    assert (waiting.state, waiting.ended_at, len(waiting.attempts)) == ("retrying", None, 1)
    done = fold(waiting, "id", [event("received", 4, 1, 2), event("succeeded", 5, 1, 2)])
    assert (done.state, len(done.attempts)) == ("succeeded", 2)
    assert done.attempts[(0, 1)].exception == "E"


def test_events_that_tell_no_number_belong_to_the_attempt_that_is_open() -> None:
    """Celery's own of a start and an end don't say which attempt; a retry is published before it is told."""
    untold: dict[str, Any] = {"retries": None, "delivery": 0}
    told = [
        event("sent"),
        event("received", 1, delivery=0),
        event("started", 2, **untold),
        event("sent", 3, retries=1),
        event("retried", 4, exception="E", **untold),
    ]
    waiting = fold(None, "id", told)
    assert (waiting.state, {key: a.state for key, a in waiting.attempts.items()}) == (
        "retrying",
        {(0, 0): "retrying"},
    )
    again = [event("received", 5, 1, 0), event("started", 6, **untold), event("succeeded", 7, **untold)]
    done = fold(waiting, "id", again)
    assert {key: a.state for key, a in done.attempts.items()} == {(0, 0): "retrying", (1, 0): "succeeded"}
    unknown = fold(waiting, "id", [event("failed", 5, exception="NotRegistered", **untold)])
    assert (unknown.state, len(unknown.attempts)) == ("failed", 2)


def test_a_second_delivery_decides_and_the_first_keeps_its_own_end() -> None:
    job = fold(
        None,
        "id",
        [event("received"), event("failed", 2), event("received", 9, 0, 2), event("started", 9, 0, 2)],
    )
    assert (job.state, job.ended_at) == ("running", None)
    assert job.attempts[(0, 1)].state == "failed"


def test_a_cancelled_attempt_is_back_in_its_queue() -> None:
    assert fold(None, "id", [event("started"), event("requeued", 1)]).state == "queued"


def test_an_eta_in_the_future_makes_it_scheduled_until_it_starts() -> None:
    received = fold(None, "id", [event("received", eta=START + 60)])
    assert received.state == "scheduled"
    assert advance(received, event("started", 60)).state == "running"


def test_waiting_is_counted_from_the_eta() -> None:
    told = [event("sent", 0, eta=START + 10), event("received", 1, eta=START + 10, published_at=START)]
    job = fold(None, "id", [*told, event("started", 11), event("succeeded", 12)])
    assert job.total == 2.0
    assert job.attempts[(0, 1)].wait == 1.0


@pytest.mark.parametrize("kind", sorted(ENDS))
def test_each_end_is_a_step(kind: str) -> None:
    assert kind in {state for _, state in STEPS.values()}


RECEIVED = {
    "type": "task-received",
    "uuid": "a",
    "timestamp": START,
    "hostname": "w",
    "name": "t",
    "retries": 1,
}


@given(
    st.dictionaries(
        st.sampled_from(
            [
                "type",
                "uuid",
                "timestamp",
                "hostname",
                "retries",
                "delivery",
                "eta",
                "name",
                "queues",
                "runtime",
            ]
        ),
        st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.lists(st.text())),
    )
)
def test_garbage_is_refused_or_read_but_never_breaks(fields: dict[str, Any]) -> None:
    for raw in (fields, {**RECEIVED, **fields}):
        try:
            parsed = parse(raw, 0.0)
        except Odd:
            continue
        if isinstance(parsed, JobEvent):
            assert fold(None, parsed.task_id, [parsed]).state


def test_a_retry_is_not_its_own_parent() -> None:
    retried = parse({**RECEIVED, "parent_id": RECEIVED["uuid"]}, 0.0)
    chained = parse({**RECEIVED, "parent_id": "b"}, 0.0)
    assert isinstance(retried, JobEvent)
    assert isinstance(chained, JobEvent)
    assert retried.parent_id is None
    assert chained.parent_id == "b"


def test_text_is_made_fit_for_a_database() -> None:
    parsed = parse({**RECEIVED, "name": "a\x00b\ud800" + "x" * 300}, 0.0)
    assert isinstance(parsed, JobEvent)
    assert str(parsed.task).startswith("a\ufffdb?x")
    assert len(str(parsed.task)) == 255


def test_times_are_brought_to_the_clock_of_the_stream() -> None:
    parsed = parse(RECEIVED, 3600.0)
    assert isinstance(parsed, JobEvent)
    assert parsed.at == START + 3600


def test_a_heartbeat_without_numbers_tells_no_numbers() -> None:
    parsed = parse({"type": "worker-heartbeat", "timestamp": START, "hostname": "w", "freq": 5}, 0.0)
    assert isinstance(parsed, WorkerEvent)
    assert parsed.facts == {"freq": 5.0}


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        ("text", "not an object"),
        ({}, "no type"),
        ({"type": "task-sent", "timestamp": START}, "no task id"),
        ({"type": "task-sent", "timestamp": START, "uuid": "x" * 256}, "task id too long"),
        ({"type": "task-sent", "uuid": "a", "timestamp": 1e300}, "no time"),
        ({"type": "worker-online", "timestamp": START}, "no time or no host"),
    ],
)
def test_an_odd_event_says_why(raw: Any, reason: str) -> None:
    with pytest.raises(Odd, match=reason):
        parse(raw, 0.0)
