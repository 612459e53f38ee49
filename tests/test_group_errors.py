"""Errors: failed jobs are grouped by what they failed with, each counted once; what was closed comes back."""

from __future__ import annotations

import random
import threading
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from jobs.errors import grouping
from jobs.errors.fingerprints import LONGEST_MESSAGE, UNKNOWN, Cause, cause_of, normalised
from jobs.errors.grouping import group, wake
from jobs.forgetting import forget_jobs, forget_rows, rows_over
from jobs.models import Bucket, Cluster, Error, ErrorCount, ErrorJob, Job, Ungrouped
from jobs.record import Record
from jobs.retention import Retention
from tests.stream import START, entries_of, entry_of, raw
from workers.monitor.errors import Grouping

TRACEBACK = """Traceback (most recent call last):
  File "/venv/lib/python3.12/site-packages/celery/app/trace.py", line 479, in trace_task
    R = retval = fun(*args, **kwargs)
  File "/srv/releases/{release}/shop/pricing.py", line {line}, in quote
    rate = rates[currency]
  File "/usr/lib/python3.12/json/decoder.py", line 3, in decode
KeyError: 'currency'
"""


def failing(
    uuid: str, exception: str = "KeyError('currency')", at: float = 0.0, **told: Any
) -> list[dict[str, Any]]:
    """A job that waits for a second and fails after another."""
    traceback = told.pop("traceback", TRACEBACK.format(release="a", line=118))
    named = {"name": told.pop("task", "shop.pay"), "queue": told.pop("queue", "high")}
    return [
        raw("task-sent", uuid, at, **named, **told),
        raw("task-received", uuid, at + 1, **named),
        raw("task-started", uuid, at + 1),
        raw("task-failed", uuid, at + 2, exception=exception, traceback=traceback),
    ]


def succeeding(uuid: str, at: float, delivery: int) -> list[dict[str, Any]]:
    """A second delivery of the same job, which goes well."""
    return [
        raw("task-received", uuid, at, delivery=delivery, name="shop.pay", queue="high"),
        raw("task-succeeded", uuid, at + 1, delivery=delivery, result="1"),
    ]


_producers = iter(range(1, 1_000_000))


def record(*events: dict[str, Any], grouped: bool = True) -> None:
    Record("test").commit(entries_of([*events], producer=f"p{next(_producers)}"))
    while grouped and group(Cluster.DEFAULT_ID):
        pass


def counts(tier: int) -> dict[int, int]:
    """How many failed, by span, over all errors."""
    total: Counter[int] = Counter()
    for start, failed in ErrorCount.objects.filter(tier=tier).values_list("start", "failed"):
        total[start] += failed
    return {start: failed for start, failed in total.items() if failed}


# What failures have in common


def test_what_changes_from_job_to_job_makes_no_other_error() -> None:
    one = cause_of("shop.pay", "ValueError('order 17 of ana@x.org in /srv/a/b.csv is 0x7f: \\'x\\'')", None)
    two = cause_of("shop.pay", "ValueError('order 9 of bo@y.org in /tmp/c/d.csv is 0x1: \\'yy\\'')", None)
    assert one == two
    assert one.message == "order <n> of <email> in <path> is <hex>: <value>"


@pytest.mark.parametrize(
    ("exception", "name", "message"),
    [
        ("KeyError('currency')", "KeyError", "currency"),
        ("KeyError: 'currency'", "KeyError", "currency"),
        ("SoftTimeLimitExceeded()", "SoftTimeLimitExceeded", ""),
        ("OSError(2, 'No such file: /a/b')", "OSError", "<n>, <value>"),
        (
            "Gone('no 6f1c1a5e-1f0a-4d53-9a53-1b2f3c4d5e6f at https://x.org/a?b=1')",
            "Gone",
            "no <uuid> at <url>",
        ),
        ("Gone('order ord_93fk20dk, 1,204.50 EUR')", "Gone", "order <id>, <n> EUR"),
        ("out of luck", "?", "out of luck"),
        ("", "?", ""),
    ],
)
def test_a_message_is_kept_without_what_changes(exception: str, name: str, message: str) -> None:
    cause = cause_of("shop.pay", exception, None)
    assert (cause.exception, cause.message) == (name, message)


def test_the_frame_is_the_innermost_of_the_application_whatever_the_release_and_the_line() -> None:
    one = cause_of("t", "KeyError('x')", TRACEBACK.format(release="a", line=118))
    two = cause_of("t", "KeyError('x')", TRACEBACK.format(release="b", line=121))
    assert one.frame == "shop/pricing.py:118 quote"
    assert one.fingerprint == two.fingerprint != cause_of("t", "KeyError('x')", None).fingerprint
    assert cause_of("t", "KeyError('x')", "no traceback at all").frame == UNKNOWN


@given(st.text() | st.text(alphabet="'\"`<>/\\.:@-0aF x\n", max_size=700))
def test_any_text_has_a_fingerprint_and_to_normalise_twice_changes_nothing(text: str) -> None:
    once = normalised(text)
    assert normalised(once) == once
    assert len(once) <= LONGEST_MESSAGE
    assert not any(sign.isdigit() and sign.isdecimal() for sign in once)
    cause = cause_of(text[:50], text, text)
    assert len(cause.fingerprint) == 32
    assert len(cause.frame) <= 300


@pytest.mark.parametrize(
    "hostile", ["a" * 10_000_000, "'" * 500, "/a" * 5_000_000, "a.b-" * 200 + "@", 'File "' * 9_000]
)
def test_no_text_takes_long(hostile: str) -> None:
    """A pattern that tries too many ways would not come back within the time of a test."""
    for _ in range(20):
        cause_of("t", f"E({hostile[:10_000]}", hostile)


# What is counted


@pytest.mark.django_db
def test_failures_of_one_cause_are_one_error_with_its_counts_and_releases() -> None:
    record(
        *failing("a", release="r1"), *failing("b", at=400.0, release="r2"), *failing("c", "Boom('x')", at=1.0)
    )
    error = Error.objects.get(exception="KeyError")
    assert (error.task, error.queue, error.message, error.times) == ("shop.pay", "high", "currency", 2)
    assert (error.first_release, error.last_release) == ("r1", "r2")
    assert (error.first_at, error.last_at) == tuple(
        datetime.fromtimestamp(START + at, UTC) for at in (2.0, 402.0)
    )
    assert error.last_job == Job.objects.get(task_id="b").pk
    assert error.frame == "shop/pricing.py:118 quote"
    assert Error.objects.get(exception="Boom").times == 1
    assert sum(counts(ErrorCount.HOUR).values()) == sum(counts(ErrorCount.FIVE_MINUTES).values()) == 3


@pytest.mark.django_db
def test_a_batch_without_failures_marks_nothing() -> None:
    record(*failing("a")[:3], *succeeding("b", 3.0, 5), grouped=False)
    assert not Ungrouped.objects.exists()
    record(*failing("a"), grouped=False)
    assert Ungrouped.objects.count() == 1


@pytest.mark.django_db
def test_told_again_a_failure_counts_once() -> None:
    events = entries_of(failing("a"), producer="again")
    for entries in (events, events):
        Record("test").commit(entries)
        group(Cluster.DEFAULT_ID)
    Ungrouped.objects.create(cluster_id=1, job_id=Job.objects.get().pk, mark="once more")
    group(Cluster.DEFAULT_ID)
    assert Error.objects.get().times == 1
    assert list(counts(ErrorCount.HOUR).values()) == [1]


@pytest.mark.django_db
def test_a_job_that_succeeds_after_all_is_taken_back() -> None:
    record(*failing("a"), *failing("b"))
    record(*succeeding("a", 9.0, 7))
    assert Error.objects.get().times == 1
    assert list(counts(ErrorCount.HOUR).values()) == [1]
    assert [row.job_id for row in ErrorJob.objects.all()] == [Job.objects.get(task_id="b").pk]


@pytest.mark.django_db
def test_a_job_that_fails_otherwise_after_all_moves_to_the_other_error() -> None:
    record(*failing("a"))
    record(raw("task-failed", "a", 5.0, delivery=9, exception="Boom('x')"))
    assert dict(Error.objects.values_list("exception", "times")) == {"KeyError": 0, "Boom": 1}


class TestAnyOrder(TestCase):
    @hypothesis_settings(max_examples=25)
    @given(st.integers(0, 10_000), st.integers(1, 12))
    def test_errors_count_what_the_buckets_count(self, seed: int, size: int) -> None:
        """In any order, with second deliveries, cut anywhere, grouped whenever."""
        die = random.Random(seed)
        events = [event for number in range(size) for event in _life(die, number)]
        die.shuffle(events)
        told, start = Record("test"), 0
        while start < len(events):
            cut = start + die.randint(1, 9)
            told.commit([entry_of(events[start:cut], first_seq=start + 1)])
            start = cut
            if die.random() < 0.4:
                group(Cluster.DEFAULT_ID, die.randint(1, 5))
        while group(Cluster.DEFAULT_ID):
            pass
        failed = Bucket.objects.filter(tier=Bucket.HOUR, failed__gt=0).values_list("start", "failed")
        assert counts(ErrorCount.HOUR) == Counter(
            {start: sum(n for each, n in failed if each == start) for start, _ in failed}
        )
        assert (
            sum(Error.objects.values_list("times", flat=True)) == Job.objects.filter(state="failed").count()
        )
        assert ErrorJob.objects.count() == Job.objects.filter(state="failed").count()


def _life(die: random.Random, number: int) -> list[dict[str, Any]]:
    at, uuid = die.uniform(0, 20_000), f"job-{number}"
    events = failing(uuid, die.choice(["KeyError('a')", "Boom('b')"]), at)
    if die.random() < 0.4:
        events += succeeding(uuid, at + 5, 5)
    if die.random() < 0.3:
        events.append(raw("task-failed", uuid, at + 9, delivery=9, exception="Boom('late')"))
    return events


@pytest.mark.django_db
def test_names_without_end_are_one_error_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grouping, "ERRORS_OF_A_TASK", 3)
    record(*(event for n in range(8) for event in failing(f"j{n}", f"Made{'abcdefgh'[n]}('x')")))
    of_task = dict(Error.objects.values_list("exception", "times"))
    assert of_task.pop("other") == 5
    assert [*of_task.values()] == [1, 1, 1]
    record(*failing("again", "Madea('x')"), *failing("new", "Boom('x')"))
    assert dict(Error.objects.values_list("exception", "times"))["other"] == 6


@pytest.mark.django_db
def test_tasks_without_end_are_one_error_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grouping, "MOST_ERRORS", 2)
    record(*(event for n in range(5) for event in failing(f"j{n}", task=f"shop.t{'abcde'[n]}")))
    rest = Error.objects.get(exception="other")
    assert (rest.task, rest.queue, rest.times) == (UNKNOWN, UNKNOWN, 3)


# What comes back


def moment(at: float) -> datetime:
    return datetime.fromtimestamp(START + at, UTC)


@pytest.mark.django_db
def test_a_resolved_error_that_fails_again_is_regressed() -> None:
    record(*failing("a"))
    Error.objects.update(status="resolved", resolved_at=moment(10), resolved_by="ana")
    record(*failing("b", at=20.0, release="r9"))
    error = Error.objects.get()
    assert (error.status, error.returned_at, error.last_release) == ("regressed", moment(22), "r9")


@pytest.mark.django_db
def test_a_failure_from_before_it_was_resolved_does_not_reopen_it() -> None:
    record(*failing("a"))
    Error.objects.update(status="resolved", resolved_at=moment(10))
    record(*failing("late", at=5.0))
    assert Error.objects.values_list("status", "times").get() == ("resolved", 2)


@pytest.mark.django_db
def test_an_ignored_error_stays_so_until_its_moment() -> None:
    record(*failing("a"))
    Error.objects.update(status="ignored", ignored_until=moment(100))
    record(*failing("b", at=20.0))
    assert wake(Cluster.DEFAULT_ID, moment(99)) == 0
    assert Error.objects.get().status == "ignored"
    assert wake(Cluster.DEFAULT_ID, moment(100)) == 1
    assert Error.objects.values_list("status", "ignored_until").get() == ("unresolved", None)


@pytest.mark.django_db
def test_an_ignored_error_comes_back_above_its_count() -> None:
    record(*failing("a"))
    Error.objects.update(status="ignored", ignored_above=3)
    record(*failing("b"), *failing("c"))
    assert Error.objects.get().status == "ignored"
    record(*failing("d"))
    assert Error.objects.get().status == "unresolved"


@pytest.mark.django_db
def test_what_is_ignored_for_good_stays_so() -> None:
    record(*failing("a"))
    Error.objects.update(status="ignored")
    record(*failing("b", at=9_000_000.0))
    assert Error.objects.get().status == "ignored"


# What is forgotten


@pytest.mark.django_db
def test_errors_and_counts_are_forgotten_in_their_time_and_jobs_take_their_place_along() -> None:
    record(*failing("a"), *failing("latest"))
    now, retention = moment(0) + timedelta(days=400), Retention()
    assert forget_jobs([Job.objects.get(task_id="a").pk], retention, now)
    assert ErrorJob.objects.count() == 1
    assert Error.objects.get().times == 2
    for rows in rows_over(retention, now):
        forget_rows(rows, 1_000)
    assert not ErrorCount.objects.exists()
    assert not Error.objects.exists()
    record(raw("task-failed", "latest", 6.0, delivery=9, exception="Boom('x')"))
    assert dict(Error.objects.values_list("exception", "times")) == {"Boom": 1}


@pytest.mark.django_db
def test_a_failure_that_cannot_be_grouped_is_left_out_and_the_others_are_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    record(*failing("a", "One('x')"), *failing("odd", "Odd('x')"), *failing("b", "Two('x')"), grouped=False)

    def refuses(task: str | None, exception: str | None, traceback: str | None) -> Cause:
        if exception == "Odd('x')":
            raise ValueError("nobody has thought of this")
        return cause_of(task, exception, traceback)

    monkeypatch.setattr("jobs.errors.grouping.cause_of", refuses)
    stop = threading.Event()
    Grouping(lambda: True)._round(stop)
    assert set(Error.objects.values_list("exception", flat=True)) == {"One", "Two"}
    assert not Ungrouped.objects.exists()
