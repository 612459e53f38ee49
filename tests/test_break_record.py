"""Hostile and odd events: the record goes on, the good events stay, and what is lost is counted."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from jobs import loading, models
from jobs.lifecycle import fold
from jobs.record import Record
from jobs.rollups import counted
from tests.stream import START, entries_of, entry_of, life_of, raw
from tests.test_record_events import CLUSTER, SOURCE, assert_counters_equal_a_recount, event_of

DEEP = "[" * 10_000 + "]" * 10_000
NESTED = json.loads("[" * 500 + "]" * 500)


def quarantined() -> int:
    return sum(row.count for row in models.Quarantine.objects.all())


def progress(meta: Any) -> dict[str, Any]:
    return raw("job-progress", "odd", 1, state="RENDERING", meta=meta)


@pytest.mark.django_db
@pytest.mark.parametrize(
    "odd",
    [
        progress({"loss": float("nan"), "best": float("inf")}),
        progress({"file": "caf\udce9.png"}),
        progress({"n": 2**70}),
        progress(NESTED),
        progress([1, 2]),
        raw("task-failed", "odd", 1, exception="OSError: caf\udce9.png"),
        raw("task-succeeded", "odd", 1, result=NESTED),
        raw("task-succeeded", "odd", 1, runtime=float("nan")),
        raw("task-succeeded", "odd", 1, runtime=9e14),
        raw("task-received", "odd", 1, name="t", delivery=2**70, retries=2**70, priority=2**70),
        raw("task-received", "odd", 1, name=["t"], delivery=-1, retries=-1, priority="high"),
        raw("task-started", "odd", 1, timestamp=10**400),
    ],
    ids=lambda odd: repr(odd)[-60:],
)
def test_an_odd_event_costs_no_other_event_of_its_entry(odd: dict[str, Any]) -> None:
    record = Record(SOURCE)
    record.commit([entry_of([*life_of("a"), odd, *life_of("b")])])
    assert models.Job.objects.filter(state="succeeded", task_id__in="ab").count() == 2
    assert_counters_equal_a_recount()


@pytest.mark.django_db
def test_many_absurd_runtimes_do_not_poison_their_bucket() -> None:
    record = Record(SOURCE)
    for n in range(4):
        job = life_of(f"job-{n}")
        record.commit([entry_of([*job[:3], {**job[3], "runtime": 9e12}], first_seq=4 * n + 1)])
    record.commit([entry_of(life_of("a"), first_seq=17)])
    assert models.Job.objects.filter(state="succeeded").count() == 5
    assert quarantined() == 0


@pytest.mark.django_db
@pytest.mark.parametrize("field", [b"s", b"n"])
@pytest.mark.parametrize("number", [b"-1", b"1e5", b"%d" % 2**62, b"%d" % 2**70, b"9" * 5000])
def test_an_entry_with_an_absurd_number_is_set_aside(field: bytes, number: bytes) -> None:
    record = Record(SOURCE)
    stream_id, fields = entry_of(life_of("a"))
    record.commit([(stream_id, {**fields, field: number})])
    assert quarantined() == 1
    record.commit([entry_of(life_of("a"))])
    assert models.Job.objects.get().state == "succeeded"


@pytest.mark.django_db
@pytest.mark.parametrize("offset", [b"nan", b"inf", b"-inf", b"1e308", b"1e12", b"-1e10", b"x"])
def test_an_absurd_clock_offset_is_quarantined_and_counted(offset: bytes) -> None:
    record = Record(SOURCE)
    stream_id, fields = entry_of(life_of("a"))
    good = entry_of(life_of("b"), "p2")
    record.commit([(stream_id, {**fields, b"o": offset}), good])
    assert models.Job.objects.get().task_id == "b"
    assert quarantined() == (1 if offset == b"x" else 4)
    assert record.last_id == good[0]


@pytest.mark.django_db
def test_what_an_unreadable_entry_held_is_counted_event_by_event() -> None:
    record = Record(SOURCE)
    stream_id, fields = entry_of([*life_of("a"), DEEP])
    record.commit([(stream_id, fields)])
    assert quarantined() == 5
    stream_id, fields = entry_of(life_of("a"), first_seq=6)
    record.commit([(stream_id, {**fields, b"n": b"9"})])
    assert quarantined() == 14


@pytest.mark.django_db
def test_a_producer_whose_clock_starts_in_1970_is_recorded() -> None:
    events = [{**event, "timestamp": event["timestamp"] - START} for event in life_of("a")]
    Record(SOURCE).commit([entry_of(events, offset=START)])
    assert models.Job.objects.get().ended_minute == int(START + 2) // 60


@pytest.mark.django_db
def test_the_recorders_own_faults_are_counted_in_the_record() -> None:
    committed = Record(SOURCE).commit([entry_of([{"type": "recorder-fault", "timestamp": START}])])
    assert committed.quarantined == 1
    assert models.Quarantine.objects.get().reason == "the recorder failed"


@pytest.mark.django_db(transaction=True)
def test_of_a_refused_entry_only_the_refused_event_is_set_aside(monkeypatch: pytest.MonkeyPatch) -> None:
    def refusing(job: Any) -> Any:
        if job is not None and job.task_id == "poison":
            raise RecursionError
        return counted(job)

    monkeypatch.setattr("jobs.record.counted", refusing)
    record = Record(SOURCE)
    record.commit([entry_of([*life_of("a"), raw("task-started", "poison"), *life_of("b")])])
    assert set(models.Job.objects.values_list("task_id", flat=True)) == {"a", "b"}
    assert quarantined() == 1
    assert models.Producer.objects.get().last_seq == 9
    assert models.Gap.objects.count() == 0
    assert_counters_equal_a_recount()


@pytest.mark.django_db
def test_a_success_told_later_takes_the_traceback_away() -> None:
    record = Record(SOURCE)
    record.commit([entry_of(life_of("a", end="task-failed"))])
    record.commit([entry_of([raw("task-succeeded", "a", 3)], first_seq=5)])
    assert not models.Attempt.objects.get().traceback


moments = st.floats(-3600, 3600, allow_nan=False)


@st.composite
def told_at_any_moment(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Events of one job at moments finer than a microsecond."""
    kinds = ["task-sent", "task-received", "task-started", "task-succeeded", "task-failed", "task-retried"]
    told = draw(
        st.lists(
            st.tuples(st.sampled_from(kinds), moments, moments, st.integers(0, 1), st.integers(1, 2)),
            min_size=1,
            max_size=10,
        )
    )
    return [
        raw(
            kind,
            "a",
            at,
            retries=retries,
            delivery=0 if kind == "task-sent" else delivery,
            name="t",
            published=START + published,
        )
        for kind, at, published, retries, delivery in told
    ]


class AfterReload(TestCase):
    @hypothesis_settings(parent=hypothesis_settings.default, max_examples=100)
    @given(told_at_any_moment(), st.integers(1, 3), st.booleans())
    def test_a_job_read_back_counts_as_it_did_in_memory(
        self, events: list[dict[str, Any]], size: int, forgetful: bool
    ) -> None:
        record = Record(SOURCE)
        for entry in entries_of(events, size):
            record = Record(SOURCE) if forgetful else record
            record.commit([entry])
        model = fold(None, "a", [event_of(told) for told in events])
        back = loading.jobs_by_task_id(CLUSTER, ["a"])["a"]
        assert Counter(counted(back)) == Counter(counted(model))
        assert_counters_equal_a_recount()
