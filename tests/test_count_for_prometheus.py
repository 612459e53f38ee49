"""Counters that Prometheus scrapes count each thing once, and never fall, whatever happens to the monitor."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from jobs import loading, models
from jobs.batch import StreamEntry
from jobs.events import JobEvent
from jobs.lifecycle import Job, advance, fold
from jobs.metrics import totals
from jobs.metrics.counting import (
    FAILED,
    KINDS,
    OTHER,
    QUEUE,
    RECEIVED,
    STARTED,
    WAIT,
    WORKER,
    Key,
    Ledger,
    Tally,
    exception_name,
)
from jobs.metrics.scrape import scrape
from jobs.record import Fenced, Record
from jobs.retention import Retention
from tests.lives import Told
from tests.stream import entry_of, life_of, raw
from tests.test_merge_events import event, events_of_a_job
from tests.test_merge_lives import streams
from workers.monitor.prune import Pruner

SOURCE = "test"
CLUSTER = models.Cluster.DEFAULT_ID
A_LATER_DAY = timedelta(days=1)


def told_one_by_one(events: Iterable[JobEvent], ledger: Ledger) -> Iterable[Job]:
    """A job as the ledger sees it, batch by batch of one event."""
    job: Job | None = None
    for now, one in enumerate(events):
        after = advance(job, one)
        ledger.count({} if job is None else {"id": job}, {"id": after}, float(now))
        yield after
        job = after


def counts(ledger: Ledger) -> dict[Key, list[int]]:
    return {key: list(tally.counts) for key, tally in ledger._tallies.items()}


def summed(ledger: Ledger, axis: str) -> Counter[str]:
    whole: Counter[str] = Counter()
    for key, tally in ledger._tallies.items():
        if key.axis == axis:
            whole.update(dict(zip(KINDS, tally.counts, strict=True)))
    return whole


@given(events_of_a_job(), st.randoms(use_true_random=False))
def test_no_count_ever_falls_and_all_that_stands_is_counted(events: list[JobEvent], random: Any) -> None:
    random.shuffle(events)
    ledger, before = Ledger({}, 100), dict[Key, list[int]]()
    for job in told_one_by_one(events, ledger):
        now = counts(ledger)
        assert all(a <= b for key, known in before.items() for a, b in zip(known, now[key], strict=True))
        before = now
        if job.task is not None:
            of_queues, of_workers = summed(ledger, QUEUE), summed(ledger, WORKER)
            assert of_queues == of_workers
            attempts = job.attempts.values()
            assert of_queues["received"] == sum(a.received_at is not None for a in attempts)
            assert of_queues["started"] == sum(a.started_at is not None for a in attempts)
            for state in ("succeeded", "failed", "revoked", "rejected"):
                assert of_queues[state] >= sum(a.state == state for a in attempts)


@given(events_of_a_job())
def test_what_comes_at_once_is_counted_as_it_stands(events: list[JobEvent]) -> None:
    job, ledger = fold(None, "id", events), Ledger({}, 100)
    ledger.count({}, {"id": job}, 0.0)
    if job.task is not None:
        ended = [a.state for a in job.attempts.values() if a.ended_at is not None]
        ends = Counter({"retrying": "retried"}.get(state, state) for state in ended)
        found = summed(ledger, QUEUE)
        assert all(found[kind] == ends[kind] for kind in KINDS[3:])


def test_a_retry_that_a_worker_holds_until_its_eta_is_no_other_retry() -> None:
    ledger = Ledger({}, 100)
    events = [
        event("received", 1, task="t", queue="q"),
        event("retried", 2),
        event("received", 3, retries=1, eta=event("sent").at + 180),
        event("started", 180, retries=1),
        event("retried", 181, retries=1),
    ]
    retried = [summed(ledger, QUEUE)["retried"] for _ in told_one_by_one(events, ledger)]
    assert retried == [0, 1, 1, 1, 2]


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=300), st.integers(1, 20))
def test_label_sets_are_bounded_and_nothing_is_lost(pairs: list[tuple[int, int]], most: int) -> None:
    ledger = Ledger({}, most)
    for number, (task, queue) in enumerate(pairs):
        job = fold(None, str(number), [event("sent", task=f"t{task}", queue=f"q{queue}")])
        ledger.count({}, {str(number): job}, float(number))
    keys = [key for key in counts(ledger) if key.axis == QUEUE]
    assert len(keys) <= 2 * most + 1
    assert summed(ledger, QUEUE)["sent"] == len(pairs)
    first = list(dict.fromkeys((f"t{task}", f"q{queue}") for task, queue in pairs))[:most]
    assert {(key.task, key.place) for key in keys} >= set(first), "who came first keeps their name"


def test_a_new_place_of_a_known_task_is_other_and_so_is_a_new_task() -> None:
    ledger = Ledger({Key(QUEUE, "known", "q"): Tally(0.0, 0.0)}, 1)
    for task, queue in (("known", "r"), ("known", "q"), ("new", "q")):
        ledger.count({}, {"id": fold(None, "id", [event("sent", task=task, queue=queue)])}, 0.0)
    places = {(key.task, key.place) for key in counts(ledger) if key.axis == QUEUE}
    assert places == {("known", "q"), ("known", OTHER), (OTHER, OTHER)}


def test_a_job_is_counted_when_its_task_is_known() -> None:
    """The pool's process may tell an end before anybody has told what ended."""
    ledger = Ledger({}, 100)
    events = [event("succeeded", 3, run=0.2), event("received", 1, task="t", queue="q")]
    [*_] = told_one_by_one(events, ledger)
    assert set(counts(ledger)) == {Key(QUEUE, "t", "q"), Key(WORKER, "t", "w1@host")}
    assert summed(ledger, QUEUE) == {**dict.fromkeys(KINDS, 0), "received": 1, "succeeded": 1}


def test_durations_fall_into_the_bucket_that_holds_them() -> None:
    ledger = Ledger({}, 100)
    [*_] = told_one_by_one(
        [
            event("received", 0, task="t", queue="q", published_at=event("sent").at - 2.5),
            event("started", 0),
            event("succeeded", 9, run=10.0),
        ],
        ledger,
    )
    tallies = ledger._tallies
    run, wait = tallies[Key(QUEUE, "t", "q")].run, tallies[Key(WAIT, "", "q")].wait
    assert (run[0], run.index(1) - 1, sum(run[1:])) == (10.0, 13, 1), "10 s are within le=10"
    assert (wait[0], wait.index(1) - 1, sum(wait[1:])) == (2.5, 5, 1), "2.5 s are within le=2.5"
    assert tallies[Key(QUEUE, "t", "q")].wait == wait


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("KeyError('currency')", "KeyError"),
        ("shop.errors.Late: by a day", "shop.errors.Late"),
        ("Late", "Late"),
        ("it broke", "UnknownException"),
        (None, "UnknownException"),
    ],
)
def test_an_exception_is_counted_under_its_name(text: str | None, name: str) -> None:
    assert exception_name(text) == name


def test_of_many_exceptions_the_first_keep_their_names() -> None:
    tally = Tally(0.0, 0.0)
    for number in range(30):
        tally.add_exception(f"E{number}()", 0.0)
    assert (len(tally.exceptions), tally.exceptions[OTHER][0]) == (21, 10)


def test_measures_come_back_as_they_were() -> None:
    tally = Tally(1.0, 2.0)
    tally.run, tally.prefetch = [0.5, *[1] * 19], (0.25, 7.0)
    tally.add_exception("E()", 3.0)
    assert Tally(1.0, 2.0).load(tally.dumps()) == tally
    tally.run = [0.5, 1, 2]
    assert not any(Tally(1.0, 2.0).load(tally.dumps()).run), "of a release with other bounds"


# Through the record


def scraped(now: datetime) -> dict[str, float]:
    """Every counter, histograms' included, as it is shown once it is no longer new."""
    lines = [line for family in scrape(CLUSTER, now) if family.kind != "gauge" for line in family.lines]
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}


def later() -> datetime:
    return datetime.now(UTC) + timedelta(minutes=5)


class InTheDatabase(TestCase):
    """The same through the record: monitors die, are fenced and forget; jobs and samples are pruned."""

    @hypothesis_settings(
        parent=hypothesis_settings.default, max_examples=min(100, hypothesis_settings().max_examples // 2)
    )
    @given(streams(), st.data())
    def test_no_counter_ever_falls(
        self, stream: tuple[list[StreamEntry], list[Told], int], data: st.DataObject
    ) -> None:
        entries, arrived, missed = stream
        record, rest, before = Record(SOURCE), list(entries), dict[str, float]()
        forgets = data.draw(st.booleans())
        while rest:
            size = data.draw(st.integers(1, len(rest)))
            batch, rest = rest[:size], rest[size:]
            record = self.commit(record, batch, data.draw(st.sampled_from(["goes on", "anew", "fenced"])))
            if forgets:
                forget_all_jobs(record)
            now = scraped(later())
            assert not {name for name, value in before.items() if now.get(name, -1.0) < value}
            before = now
        assert before.get("nightdesk_events_lost_total", 0.0) == missed
        if not forgets:
            assert_nothing_is_missing(before, {one.raw["uuid"] for one in arrived})

    def commit(self, record: Record, batch: list[StreamEntry], then: str) -> Record:
        if then == "fenced":
            Record(SOURCE).commit(batch)
            with pytest.raises(Fenced):
                record.commit(batch)
        else:
            record.commit(batch)
        return record if then == "goes on" else Record(SOURCE)


def assert_nothing_is_missing(found: Mapping[str, float], task_ids: set[str]) -> None:
    """What the record holds is counted, and what can happen but once to an attempt is counted once."""
    jobs = [job for job in loading.jobs_by_task_id(CLUSTER, task_ids).values() if job.task is not None]
    attempts = [attempt for job in jobs for attempt in job.attempts.values()]
    for names in (("celery_task_{}_total",), ("flower_events_total", 'type="task-{}"')):
        assert counted(found, "received", *names) == sum(one.received_at is not None for one in attempts)
        assert counted(found, "started", *names) == sum(one.started_at is not None for one in attempts)
        for state in ("succeeded", "failed", "revoked", "rejected"):
            assert counted(found, state, *names) >= sum(one.state == state for one in attempts)
    waited = sum(one.wait is not None for one in attempts)
    assert shown(found, "celery_task_queue_wait_time_count") == waited
    assert shown(found, "nightdesk_queue_wait_seconds_count") == waited


def counted(samples: Mapping[str, float], kind: str, name: str, label: str = "") -> float:
    """The sum of the series of one kind."""
    return shown(
        {series: n for series, n in samples.items() if label.format(kind) in series}, name.format(kind)
    )


def shown(samples: Mapping[str, float], name: str) -> float:
    """The sum of all series of this name."""
    return sum(value for series, value in samples.items() if series.partition("{")[0] == name)


def forget_all_jobs(record: Record) -> None:
    """What retention does, long after."""
    forgotten: list[int] = []
    days = {name: timedelta(0) for name in ("succeeded", "ended", "open", "minutes", "hours", "days")}
    walker = Pruner(lambda: True, Retention(**days), forgotten.extend)
    walker.prune(datetime.now(UTC) + timedelta(hours=1), threading.Event())
    record.forget(forgotten)


@pytest.mark.django_db
def test_a_monitor_that_starts_anew_counts_on() -> None:
    for number in range(3):
        Record(SOURCE).commit([entry_of(life_of(str(number)), first_seq=4 * number + 1)])
    found = scraped(later())
    labels = '{name="shop.pay",hostname="generic",queue_name="high"}'
    assert found[f"celery_task_succeeded_total{labels}"] == 3
    assert found[f"celery_task_runtime_count{labels}"] == 3
    assert found[f"celery_task_queue_wait_time_sum{labels}"] == 3.0
    assert found['flower_events_total{task="shop.pay",worker="w1@host",type="task-succeeded"}'] == 3


@pytest.mark.django_db
def test_a_redelivery_adds_an_end_and_takes_none_back() -> None:
    record = Record(SOURCE)
    record.commit([entry_of(life_of("a", end="task-failed"))])
    again = [raw("task-received", "a", 9, delivery=2, name="shop.pay", queue="high"),
             raw("task-succeeded", "a", 10, delivery=2, runtime=1.0)]  # fmt: skip
    record.commit([entry_of(again, first_seq=5)])
    assert models.Bucket.objects.filter(tier=60, failed__gt=0).count() == 0, (
        "the job's end is another one now"
    )
    found = scraped(later())
    assert shown(found, "celery_task_failed_total") == 1
    assert shown(found, "celery_task_succeeded_total") == 1


@pytest.mark.django_db
def test_what_is_new_is_shown_as_0_first() -> None:
    """Or `increase()` would not see the first failure of a task."""
    Record(SOURCE).commit([entry_of(life_of("a", end="task-failed"))])
    labels = '{name="shop.pay",hostname="generic",queue_name="high",exception="KeyError"}'
    now = datetime.now(UTC)
    assert scraped(now)[f"celery_task_failed_total{labels}"] == 0
    assert scraped(now + timedelta(seconds=60))[f"celery_task_failed_total{labels}"] == 0
    assert scraped(now + timedelta(seconds=80))[f"celery_task_failed_total{labels}"] == 1


@pytest.mark.django_db
def test_gaps_loss_and_quarantine_are_counted() -> None:
    record = Record(SOURCE)
    record.commit([entry_of(life_of("a"))])
    record.commit([entry_of([raw("task-sent", "b"), '{"no": "kind"}'], first_seq=9)])
    for _ in range(2):
        record.note_gap("cap", 1.0, 2.0)
    found = scraped(later())
    assert found["nightdesk_events_lost_total"] == 4
    assert found['nightdesk_gaps_total{reason="sequence"}'] == 1
    assert found['nightdesk_gaps_total{reason="cap"}'] == 1, "a gap that grows is one"
    assert shown(found, "nightdesk_events_quarantined_total") == 1


@pytest.mark.django_db
def test_labels_of_totals_are_bounded() -> None:
    for number in range(60):
        totals.add(totals.QUARANTINED, {f"reason {number:02}": 2})
    labels = models.Total.objects.values_list("label", "count")
    assert (len(labels), dict(labels)[OTHER]) == (totals.MOST_LABELS + 1, 2 * 10)


@pytest.mark.django_db
def test_ticks_are_absent_until_somebody_counts_them() -> None:
    assert shown(scraped(later()), "nightdesk_ticks_total") == 0
    assert not any(name.startswith("nightdesk_ticks") for name in scraped(later()))
    totals.add(totals.TICKS, {"fired": 3, "missed": 1})
    assert scraped(later())['nightdesk_ticks_total{outcome="missed"}'] == 1


@pytest.mark.django_db
def test_series_of_workers_that_are_gone_make_room() -> None:
    long_ago = datetime.now(UTC) - timedelta(days=3)
    facts = {"born_at": long_ago, "moved_at": long_ago}
    models.Worker.objects.create(producer="p", name="idle@h", seen_at=datetime.now(UTC))
    for axis, place in ((WORKER, "idle@h"), (WORKER, "gone@h"), (WORKER, OTHER), (QUEUE, "high")):
        models.Series.objects.create(axis=axis, task="t", place=place, **facts)
    Pruner(lambda: True).prune(datetime.now(UTC), threading.Event())
    assert set(models.Series.objects.values_list("place", flat=True)) == {"idle@h", OTHER, "high"}
    assert loading.series(CLUSTER).keys() == {
        Key(WORKER, "t", "idle@h"), Key(WORKER, "t", OTHER), Key(QUEUE, "t", "high"),
    }  # fmt: skip


def test_room_is_taken_by_what_comes_next() -> None:
    old, new = Tally(0.0, 0.0), Tally(0.0, 99.0)
    ledger = Ledger({Key(QUEUE, "old", "q"): old, Key(QUEUE, "new", "q"): new}, 2)
    was_full = ledger.full
    ledger.drop(lambda _, tally: tally.moved < 50)
    assert (was_full, ledger.full) == (True, False)
    ledger.count({}, {"id": fold(None, "id", [event("sent", task="next", queue="q")])}, 100.0)
    assert {key.task for key in counts(ledger) if key.axis == QUEUE} == {"new", "next"}


def test_kinds_are_where_they_are_expected() -> None:
    assert [KINDS[kind] for kind in (RECEIVED, STARTED, FAILED)] == ["received", "started", "failed"]
