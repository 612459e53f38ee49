"""The record: each event once, whatever happens to the process that writes it."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import DataError, OperationalError
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from jobs import loading, models, store
from jobs.events import parse
from jobs.lifecycle import fold
from jobs.record import Fenced, Record
from jobs.rollups import COUNTS, Deltas, Key, Sketches, counted
from tests.stream import START, entries_of, entry_of, life_of, raw

SOURCE = "test"
CLUSTER = models.Cluster.DEFAULT_ID


def recount(tier: int) -> dict[Key, tuple[dict[str, int], str]]:
    """The buckets as the jobs in the record would have them."""
    ids = list(models.Job.objects.values_list("task_id", flat=True))
    jobs = loading.jobs_by_task_id(CLUSTER, ids).values()
    tallies = Deltas.of(((), counted(job)) for job in jobs).wider(tier // models.Bucket.MINUTE)
    return {key: (tally.counts, tally.sketches.dumps()) for key, tally in tallies.items()}


def buckets(tier: int) -> dict[Key, tuple[dict[str, int], str]]:
    """The buckets as they are, less those that came back to nothing."""
    return {
        Key(row.start, row.task, row.queue): (
            {name: getattr(row, name) for name in COUNTS},
            Sketches.loads(row.sketches).dumps(),
        )
        for row in models.Bucket.objects.filter(tier=tier)
        if any(getattr(row, name) for name in COUNTS)
    }


def assert_counters_equal_a_recount() -> None:
    for tier in (models.Bucket.MINUTE, models.Bucket.HOUR, models.Bucket.DAY):
        assert _sorted_bins(buckets(tier)) == _sorted_bins(recount(tier))


def _sorted_bins(found: dict[Key, tuple[dict[str, int], str]]) -> dict[Key, Any]:
    return {
        key: (
            counts,
            {at: (s.count, s.us, dict(sorted(s.bins.items()))) for at, s in Sketches.loads(text).items()},
        )
        for key, (counts, text) in found.items()
    }


@pytest.mark.django_db
def test_a_job_is_recorded_with_all_that_is_known() -> None:
    Record(SOURCE).commit([entry_of(life_of("a", end="task-failed"))])
    job = models.Job.objects.get(task_id="a")
    assert (job.state, job.task, job.queue, job.attempts) == ("failed", "shop.pay", "high", 1)
    assert (job.wait, job.run, job.total) == (1.0, 1.0, 2.0)
    assert job.ended_minute == int(START + 2) // 60
    attempt = job.timeline.get()
    assert (attempt.worker, attempt.exception, attempt.traceback) == (
        "w1@host",
        "KeyError('currency')",
        "Traceback…",
    )
    assert job.payload.args == "[]"
    assert job.standing.state == "failed"


@pytest.mark.django_db
def test_a_success_leaves_no_standing() -> None:
    record = Record(SOURCE)
    events = life_of("a")
    record.commit([entry_of(events[:3])])
    assert models.Standing.objects.get().state == "running"
    record.commit([entry_of(events[3:], first_seq=4)])
    assert not models.Standing.objects.exists()


@pytest.mark.django_db
def test_a_repeated_entry_counts_once() -> None:
    record = Record(SOURCE)
    entries = [entry_of(life_of("a")), entry_of(life_of("a")), entry_of(life_of("b"), first_seq=5)]
    record.commit(entries)
    record.commit([entry_of(life_of("b"), first_seq=5)])
    assert models.Job.objects.count() == 2
    assert sum(b.succeeded for b in models.Bucket.objects.filter(tier=60)) == 2
    assert models.Producer.objects.get().lost == 0


@pytest.mark.django_db
def test_a_partly_repeated_entry_brings_what_is_new() -> None:
    record = Record(SOURCE)
    record.commit([entry_of(life_of("a")[:2])])
    record.commit([entry_of(life_of("a"))])
    assert models.Job.objects.get().state == "succeeded"
    assert models.Producer.objects.get().last_seq == 4


@pytest.mark.django_db
def test_a_hole_in_the_numbers_is_a_measured_loss() -> None:
    record = Record(SOURCE)
    record.commit([entry_of(life_of("a"))])
    committed = record.commit([entry_of(life_of("b"), first_seq=8)])
    assert committed.lost == 3
    gap = models.Gap.objects.get()
    assert (gap.reason, gap.lost) == ("sequence", 3)


@pytest.mark.django_db
def test_of_two_monitors_one_is_fenced_and_nothing_counts_twice() -> None:
    first, second = Record(SOURCE), Record(SOURCE)
    entries = [entry_of(life_of("a"))]
    first.commit(entries)
    with pytest.raises(Fenced):
        second.commit(entries)
    second.reload()
    assert second.last_id == first.last_id
    assert_counters_equal_a_recount()
    assert sum(b.succeeded for b in models.Bucket.objects.filter(tier=60)) == 1


@pytest.mark.django_db
def test_a_monitor_that_starts_anew_goes_on_where_the_last_one_committed() -> None:
    events = [event for n in range(20) for event in life_of(f"job-{n}", n)]
    for number, entry in enumerate(entries_of(events, size=3)):
        Record(SOURCE).commit([entry])
        assert models.Position.objects.get().last_id == entry[0], number
    assert models.Job.objects.filter(state="succeeded").count() == 20
    assert_counters_equal_a_recount()


@pytest.mark.django_db
def test_a_commit_reads_the_buckets_of_its_own_tasks_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    tasks = [[{**event, "name": f"task-{n}"} for event in life_of(f"job-{n}")] for n in range(30)]
    Record(SOURCE).commit([entry_of([event for life in tasks for event in life])])
    read: list[str] = []
    loads = Sketches.loads

    def counting(text: str) -> Sketches:
        read.append(text)
        return loads(text)

    monkeypatch.setattr(Sketches, "loads", counting)
    again = [{**event, "uuid": "again"} for event in tasks[7]]
    Record(SOURCE).commit([entry_of(again, "p2")])
    assert len(read) == 3
    monkeypatch.undo()
    assert_counters_equal_a_recount()


@pytest.mark.django_db
def test_a_late_publish_of_a_forgotten_job_changes_no_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobs.held.JOBS_HELD", 0)
    record = Record(SOURCE)
    sent, *rest = life_of("a")
    record.commit([entry_of(rest, "worker")])
    record.commit([entry_of([sent], "web")])
    assert models.Job.objects.get().state == "succeeded"
    assert_counters_equal_a_recount()


@pytest.mark.django_db
def test_the_minute_of_an_end_comes_from_the_streams_clock() -> None:
    Record(SOURCE).commit([entry_of(life_of("a"), offset=-7200.0)])
    assert models.Job.objects.get().ended_minute == int(START + 2 - 7200) // 60


@pytest.mark.django_db
def test_a_second_delivery_moves_the_counters_with_it() -> None:
    record = Record(SOURCE)
    record.commit([entry_of(life_of("a", end="task-failed"))])
    again = [raw("task-received", "a", 100, delivery=2), raw("task-started", "a", 101, delivery=2)]
    record.commit([entry_of(again, "w2")])
    assert sum(b.failed for b in models.Bucket.objects.filter(tier=60)) == 0
    record.commit([entry_of([raw("task-succeeded", "a", 102, delivery=2)], "w2", 3)])
    assert sum(b.succeeded for b in models.Bucket.objects.filter(tier=3600)) == 1
    assert_counters_equal_a_recount()


@pytest.mark.django_db
def test_odd_events_are_quarantined_and_the_good_ones_around_them_recorded() -> None:
    events = [*life_of("a"), "5", {"type": "task-sent"}, {"type": 7}, *life_of("b")]
    not_entries = [("1790000000001-1", {b"v": b"1"}), ("1790000000001-2", {b"v": b"9", b"p": b"x"})]
    broken_json = entry_of(["{"], "p2")
    committed = Record(SOURCE).commit([*not_entries, broken_json, entry_of(events)])
    assert models.Job.objects.filter(state="succeeded").count() == 2
    assert committed.quarantined == 6
    assert sum(row.count for row in models.Quarantine.objects.all()) == 6


@pytest.mark.django_db(transaction=True)
def test_an_entry_that_the_database_refuses_is_set_aside_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    real = store.write

    def refusing(kind: str, rows: Any) -> None:
        if kind == "job" and any(row[2] == "poison" for row in rows):
            raise DataError("refused")
        real(kind, rows)

    monkeypatch.setattr(store, "write", refusing)
    entries = [entry_of(life_of("a")), entry_of(life_of("poison"), "p2"), entry_of(life_of("b"), "p3")]
    record = Record(SOURCE)
    record.commit(entries)
    assert set(models.Job.objects.values_list("task_id", flat=True)) == {"a", "b"}
    assert models.Quarantine.objects.get().reason == "refused: DataError"
    assert record.last_id == entries[-1][0]
    assert_counters_equal_a_recount()


@pytest.mark.django_db(transaction=True)
def test_an_entry_cut_into_its_events_is_recorded_whole_or_not_at_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = store.write

    def failing(kind: str, rows: Any) -> None:
        if kind == "job" and len(rows) > 1:
            raise DataError("refused")
        if kind == "job" and any(row[2] == "last" for row in rows):
            raise OperationalError("the disk went away")
        real(kind, rows)

    entry = entry_of([*life_of("first"), *life_of("last")])
    with monkeypatch.context() as patch:
        patch.setattr(store, "write", failing)
        with pytest.raises(OperationalError):
            Record(SOURCE).commit([entry])
    assert (models.Job.objects.count(), models.Position.objects.get().last_id) == (0, "0-0")
    Record(SOURCE).commit([entry])
    assert models.Job.objects.filter(state="succeeded").count() == 2


@pytest.mark.django_db
def test_a_worker_is_one_row_for_each_start_of_its_process() -> None:
    record = Record(SOURCE)
    beat = {"hostname": "w1@host", "pid": 7, "slots": 4, "active": 2, "queues": ["high"], "freq": 2.0}
    record.commit([entry_of([{"type": "worker-online", "timestamp": START, **beat}], "boot-1")])
    record.commit(
        [entry_of([{"type": "worker-heartbeat", "timestamp": START + 2, **beat, "active": 3}], "boot-1", 2)]
    )
    record.commit([entry_of([{"type": "worker-online", "timestamp": START + 9, **beat}], "boot-2")])
    record.commit(
        [entry_of([{"type": "worker-offline", "timestamp": START + 9, "hostname": "w1@host"}], "boot-1", 3)]
    )
    old, new = models.Worker.objects.order_by("online_at")
    assert (old.busy, old.slots, old.offline_at is not None) == (3, 4, True)
    assert (new.busy, new.offline_at) == (2, None)


@st.composite
def told_events(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Events of a few jobs, contradicting and repeating each other, in any order."""
    kinds = ["task-received", "task-started", "task-succeeded", "task-failed", "task-retried", "task-revoked"]
    events = draw(
        st.lists(
            st.builds(
                lambda kind, job, at, retries, delivery: raw(
                    kind,
                    f"job-{job}",
                    at,
                    retries=retries,
                    delivery=0 if kind == "task-sent" else delivery,
                    name="t",
                ),
                st.sampled_from([*kinds, "task-sent", "task-rejected", "task-cancelled"]),
                st.integers(0, 2),
                st.integers(-3600, 3600),
                st.integers(0, 1),
                st.integers(1, 2),
            ),
            max_size=14,
        )
    )
    return draw(st.permutations(events))


class AnyOrder(TestCase):
    @hypothesis_settings(parent=hypothesis_settings.default, max_examples=60)
    @given(told_events(), st.integers(1, 5), st.booleans())
    def test_the_rows_equal_the_function_and_the_counters_a_recount(
        self, events: list[dict[str, Any]], size: int, forgetful: bool
    ) -> None:
        record = Record(SOURCE)
        for entry in entries_of(events, size):
            record = Record(SOURCE) if forgetful else record
            record.commit([entry])
        expected: dict[str, list[Any]] = {}
        for told in events:
            expected.setdefault(told["uuid"], []).append(event_of(told))
        for task_id, job in loading.jobs_by_task_id(CLUSTER, list(expected)).items():
            model = fold(None, task_id, expected[task_id])
            assert (job.state, job.ended_at, job.total) == (model.state, model.ended_at, model.total)
            assert {k: (a.state, a.rank) for k, a in job.attempts.items()} == {
                k: (a.state, a.rank) for k, a in model.attempts.items()
            }
        assert models.Job.objects.count() == len(expected)
        assert_counters_equal_a_recount()


def event_of(told: dict[str, Any]) -> Any:
    return parse(told, 0.0)


def test_buckets_of_a_batch_that_is_not_written_yet_are_not_forgotten(db: None) -> None:
    first = entry_of([e for n in range(2_000) for e in life_of(f"a{n}")])
    more = entry_of([e for n in range(2_000) for e in life_of(f"b{n}")], first_seq=8_001)
    for entry in (first, more):
        for n in range(2_000):
            entry[1][b"e"] = entry[1][b"e"].replace(b"shop.pay", b"task-%d" % n, 2)
    record = Record(SOURCE)
    prepared = [record.prepare([first]), record.prepare([more])]
    for batch in prepared:
        record.write(batch)
    assert models.Bucket.objects.filter(tier=60).count() == 2_000
    assert_counters_equal_a_recount()
