"""Whole lives of jobs, told in any order, twice, in part, by clocks that are off: the record is true."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from jobs import loading, models
from jobs.batch import Batch, StreamEntry
from jobs.lifecycle import Job, fold
from jobs.record import Fenced, Record
from tests import lives
from tests.lives import WRITERS, Life, Told
from tests.stream import entry_of
from tests.test_record_events import CLUSTER, SOURCE, assert_counters_equal_a_recount
from tests.truth import ENDED, Known, deciding, truth
from tests.truth import FACTS as TOLD_FACTS

pytestmark = pytest.mark.timeout(900)

# What is to be added to a writer's clock to get the stream's: up to an hour, and known to the recorder.
offsets = st.fixed_dictionaries({writer: st.integers(-3600, 3600).map(float) for writer in WRITERS})
ATTEMPT = (
    "state", "worker", "received_at", "published_at", "eta", "started_at", "ended_at", "exception",
    "run", "wait",
)  # fmt: skip
FACTS = (*TOLD_FACTS, "queue", "priority", "published_at", "eta")


def written(one: Told, offset: float) -> dict[str, Any]:
    """The event as a writer whose clock is off writes it."""
    return {**one.raw, "timestamp": round(one.at - offset, 6)}


def folded(told: Sequence[Told], off: dict[str, float], job: Job | None = None) -> Job | None:
    """The job after these events, each from a producer of its own, so that any order is read."""
    if not told:
        return job
    entries = [
        entry_of([written(one, off[one.writer])], f"p{number}", offset=off[one.writer])
        for number, one in enumerate(told)
    ]
    batch = Batch.of(entries)
    batch.read({})
    assert not batch.odd
    for task_id, events in batch.job_events.items():
        job = fold(job, task_id, events)
    return job


def assert_known(job: Job | None, known: Known) -> None:
    assert job is not None
    assert {key: row_of(attempt, ATTEMPT) for key, attempt in job.attempts.items()} == {
        key: {name: attempt[name] for name in ATTEMPT} for key, attempt in known.attempts.items()
    }
    assert (job.state, job.ended_at, job.total) == (known.state, known.ended_at, known.total)
    assert row_of(job, FACTS) == {name: known.facts[name] for name in FACTS}


def row_of(thing: Any, names: Iterable[str]) -> dict[str, Any]:
    return {name: getattr(thing, name) for name in names}


def some_of(told: Sequence[Told], data: st.DataObject) -> list[Told]:
    """The events that arrive, in the order of their arrival: some lost, some twice."""
    arrived: list[Told] = data.draw(st.permutations(told))
    arrived = [one for one in arrived if data.draw(st.integers(0, 5))]
    return arrived + [one for one in arrived if not data.draw(st.integers(0, 5))]


def tells_of_the_job(told: Iterable[Told]) -> bool:
    """Whether the record knows the job: the events of others' making are not kept."""
    return any(one.key or one.raw["type"] in ("task-sent", "job-progress") for one in told)


@given(lives.any_life(), offsets, st.data())
def test_a_life_told_in_any_order_is_known_as_it_was(
    life: Life, off: dict[str, float], data: st.DataObject
) -> None:
    assert_known(folded(data.draw(st.permutations(life.told)), off), truth(life.told))


@given(lives.any_life(), offsets, st.data())
def test_of_a_life_told_in_part_and_in_pieces_all_that_was_told_is_known(
    life: Life, off: dict[str, float], data: st.DataObject
) -> None:
    arrived, job = some_of(life.told, data), None
    rest = arrived
    while rest:
        size = data.draw(st.integers(1, len(rest)))
        job, rest = folded(rest[:size], off, job), rest[size:]
    if tells_of_the_job(arrived):
        assert_known(job, truth(arrived))
    else:
        assert job is None


@given(lives.any_life(), offsets, st.data())
def test_an_attempt_that_has_ended_never_opens_again(
    life: Life, off: dict[str, float], data: st.DataObject
) -> None:
    job: Job | None = None
    ended: set[lives.Key] = set()
    for one in some_of(life.told, data):
        job = folded([one], off, job)
        if job is not None:
            now = {key for key, attempt in job.attempts.items() if attempt.state in ENDED}
            assert ended <= now
            ended = now


@st.composite
def streams(draw: st.DrawFn) -> tuple[list[StreamEntry], list[Told], int]:
    """The lives of a few jobs as a stream holds them, what of it arrived, and how many events are missed.

    Each writer numbers its events; entries of several writers are mixed, some are lost, some come twice.
    """
    told = [
        one for number in range(draw(st.integers(1, 3))) for one in draw(lives.any_life(f"job-{number}")).told
    ]
    off = draw(offsets)
    flushes: list[tuple[str, int, list[Told]]] = []
    for writer in WRITERS:
        own = draw(st.permutations([one for one in told if one.writer == writer]))
        start = 0
        while start < len(own):
            size = draw(st.integers(1, 6))
            flushes.append((writer, start + 1, own[start : start + size]))
            start += size
    order = draw(st.permutations([writer for writer, _, _ in flushes]))
    queues = {writer: [flush for flush in flushes if flush[0] == writer] for writer in WRITERS}
    mixed = [queues[writer].pop(0) for writer in order]
    kept = [flush for flush in mixed if draw(st.integers(0, 6))]
    sent = [flush for flush in kept for _ in range(draw(st.sampled_from([1, 1, 1, 2])))]
    entries = [
        entry_of([written(one, off[writer]) for one in own], writer, first, off[writer])
        for writer, first, own in sent
    ]
    last = {writer: max((f + len(o) - 1 for w, f, o in kept if w == writer), default=0) for writer in WRITERS}
    missed = sum(last.values()) - sum(len(own) for _, _, own in kept)
    return entries, [one for _, _, own in kept for one in own], missed


class InTheDatabase(TestCase):
    """The same through the record: what its rows hold is what the events tell."""

    @hypothesis_settings(
        parent=hypothesis_settings.default, max_examples=min(300, hypothesis_settings().max_examples // 2)
    )
    @given(streams(), st.data())
    def test_rows_are_true_and_counters_equal_a_recount(
        self, stream: tuple[list[StreamEntry], list[Told], int], data: st.DataObject
    ) -> None:
        entries, arrived, missed = stream
        self.commit_in_pieces(entries, data)
        jobs = loading.jobs_by_task_id(CLUSTER, {one.raw["uuid"] for one in arrived})
        told = {uuid: [one for one in arrived if one.raw["uuid"] == uuid] for uuid in jobs}
        known = {uuid: truth(some) for uuid, some in told.items()}
        for uuid, job in jobs.items():
            assert_known(job, known[uuid])
            assert_stored(job, known[uuid])
        assert jobs.keys() == {one.raw["uuid"] for one in arrived if tells_of_the_job([one])}
        assert sum(gap.lost or 0 for gap in models.Gap.objects.all()) == missed
        assert models.Quarantine.objects.count() == 0
        assert_standing(known)
        assert_counters_equal_a_recount()

    def commit_in_pieces(self, entries: Sequence[StreamEntry], data: st.DataObject) -> None:
        """Batches of any size; the monitor forgets, is replaced, is fenced, reads some of it again."""
        record, rest = Record(SOURCE), list(entries)
        while rest:
            size = data.draw(st.integers(1, len(rest)))
            batch, rest = rest[:size], rest[size:]
            then = data.draw(st.sampled_from(["goes on", "forgets", "starts anew", "is fenced"]))
            if then == "is fenced":
                Record(SOURCE).commit(batch)
                try:
                    record.commit(batch)
                except Fenced:
                    record = Record(SOURCE)
                else:
                    raise AssertionError("both monitors have committed the batch")
                continue
            record.commit(batch)
            if then == "forgets":
                record.reload_later()
            elif then == "starts anew":
                record = Record(SOURCE)


def assert_stored(job: Job, known: Known) -> None:
    """What stands beside the job: its payload, tracebacks, and what the job's own row repeats."""
    row = models.Job.objects.select_related("payload").get(pk=job.id)
    latest = deciding(known.attempts)
    assert (row.state, row.total, row.attempts) == (known.state, known.total, len(known.attempts))
    if latest is not None and known.state not in ("queued", "scheduled", "retrying"):
        decides = known.attempts[latest]
        assert (row.exception, row.worker, row.wait) == (
            decides["exception"], decides["worker"], decides["wait"],
        )  # fmt: skip
    payload = getattr(row, "payload", None) or models.Payload()
    carried = ("args", "kwargs", "body", "withheld", "result")
    assert row_of(payload, carried) == {name: known.facts[name] for name in carried}
    progress = orjson.loads(payload.progress) if payload.progress else None
    assert (progress and (progress["state"], progress["meta"], progress["at"])) == known.facts["progress"]
    tracebacks = {(a.retries, a.delivery): a.traceback or None for a in row.timeline.all()}
    assert tracebacks == {key: a["traceback"] or None for key, a in known.attempts.items()}


def assert_standing(known: dict[str, Known]) -> None:
    """Who is open or ended badly, and nobody else, stands in the narrow table."""
    standing = dict(models.Standing.objects.values_list("job__task_id", "state"))
    assert standing == {uuid: one.state for uuid, one in known.items() if one.state != "succeeded"}
