"""A rule tried against the past finds what it would have found then."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from jobs.alerts import past
from jobs.alerts.rehearse import POSSIBLE, rehearse
from jobs.models import Alert, Bucket, QueueSample, Rule
from jobs.models.alerts import Kind
from jobs.rollups import Sketches

pytestmark = pytest.mark.django_db
NOW = datetime.now(UTC).replace(second=0, microsecond=0)


def ago(minutes: float) -> datetime:
    return NOW - timedelta(minutes=minutes)


def ended(minutes_ago: int, *, succeeded: int = 0, failed: int = 0, took: float = 1.0) -> None:
    """A minute in which so many jobs ended, each of which took so many seconds."""
    sketches = Sketches()
    for _ in range(succeeded + failed):
        for measure in ("wait", "run", "total"):
            sketches.at("succeeded", measure).add(took)
    Bucket.objects.create(
        tier=Bucket.MINUTE,
        start=int(ago(minutes_ago).timestamp() // 60),
        task="shop.sync",
        queue="low",
        succeeded=succeeded,
        failed=failed,
        sketches=sketches.dumps(),
    )


def sampled(minutes_ago: float, depth: int, oldest: float = 0.0) -> None:
    at = ago(minutes_ago)
    oldest_at = at - timedelta(seconds=oldest) if depth else None
    QueueSample.objects.create(queue="low", at=at, depth=depth, oldest_at=oldest_at)


def rule(kind: Kind, **params: float | str) -> Rule:
    return Rule(name="tried", kind=kind, params=params, for_seconds=0, resolve_seconds=0)


def test_an_hour_in_which_jobs_failed_twice_fires_twice() -> None:
    for minute in range(60, 0, -1):
        bad = minute in (50, 49, 20)
        ended(minute, succeeded=0 if bad else 30, failed=30 if bad else 0)
    tried = rehearse(rule(Kind.FAILURE_SHARE, more_than=0.5, window=60), ago(60), NOW)
    assert [(span.key, span.began, span.ended) for span in tried.spans] == [
        ("shop.sync", ago(49), ago(47)),
        ("shop.sync", ago(19), ago(18)),
    ]
    assert (tried.possible, tried.spans[0].evidence["failed"]) == (True, 30)
    assert not Alert.objects.exists()


def test_what_must_last_does_not_fire_on_one_bad_minute() -> None:
    for minute in range(30, 0, -1):
        ended(minute, succeeded=30, failed=30 if minute == 20 else 0)
    patient = rule(Kind.FAILURE_SHARE, more_than=0.4, window=60)
    patient.for_seconds = 120
    assert rehearse(patient, ago(30), NOW).spans == ()


def test_a_time_that_was_slow_is_found_and_what_still_lasts_has_no_end() -> None:
    for minute in range(30, 0, -1):
        ended(minute, succeeded=30, took=100.0 if minute <= 5 else 1.0)
    tried = rehearse(rule(Kind.SLOW, window=60, more_than=50), ago(30), NOW)
    assert [(span.key, span.began, span.ended) for span in tried.spans] == [("low", ago(4), None)]


def test_depth_and_age_are_tried_on_samples() -> None:
    for minute in range(30, 0, -1):
        sampled(minute, depth=900 if 10 <= minute < 15 else 0, oldest=400.0)
    deep = rehearse(rule(Kind.DEPTH, more_than=100), ago(30), NOW)
    old = rehearse(rule(Kind.OLDEST, times=1), ago(30), NOW)
    expected = [("low", ago(14), ago(9))]
    assert [(span.key, span.began, span.ended) for span in deep.spans] == expected
    assert [(span.key, span.began, span.ended) for span in old.spans] == expected


def test_a_task_without_success_is_found() -> None:
    for minute in range(60, 0, -1):
        ended(minute, succeeded=0 if 10 < minute < 40 else 1, failed=3)
    tried = rehearse(rule(Kind.NO_SUCCESS, seconds=600), ago(60), NOW)
    assert [(span.key, span.began, span.ended) for span in tried.spans] == [("shop.sync", ago(29), ago(9))]


def test_failures_are_compared_with_the_days_before() -> None:
    hour = int(ago(0).timestamp() // 3600) - 24
    Bucket.objects.create(
        tier=Bucket.HOUR, start=hour, task="shop.sync", queue="low", succeeded=990, failed=10
    )
    for minute in range(30, 0, -1):
        ended(minute, succeeded=50, failed=40 if minute == 10 else 0)
    tried = rehearse(rule(Kind.FAILURE_RISE, window=60), ago(30), NOW)
    assert [(span.key, span.began) for span in tried.spans] == [("shop.sync", ago(9))]


@pytest.mark.parametrize("kind", [kind for kind in Kind if kind not in POSSIBLE])
def test_kinds_whose_past_is_not_kept_say_so(kind: Kind) -> None:
    assert not rehearse(rule(kind), ago(60), NOW).possible


def test_the_past_is_known_as_far_back_as_it_is_kept() -> None:
    tried = rehearse(rule(Kind.DEPTH), NOW - timedelta(days=30), NOW)
    assert tried.known_since is not None
    assert timedelta(days=1) < NOW - tried.known_since < timedelta(days=3)


def test_a_week_is_tried_with_one_statement_and_looked_at_less_often() -> None:
    for minute in range(1, 400):
        ended(minute * 25, succeeded=30)
    with CaptureQueriesContext(
        connection,
    ) as asked:
        tried = rehearse(rule(Kind.FAILURE_SHARE), NOW - timedelta(days=7), NOW)
    assert len(asked) == 1
    assert tried.every == timedelta(minutes=7)


@pytest.mark.parametrize(("kind", "window"), [(Kind.NO_SUCCESS, "seconds"), (Kind.FAILURE_SHARE, "window")])
def test_a_look_needs_a_whole_window_of_what_is_kept(kind: Kind, window: str) -> None:
    tried = rehearse(rule(kind, **{window: 3600.0}), NOW - timedelta(days=30), NOW)
    assert tried.known_since is not None
    assert timedelta(days=6) < NOW - tried.known_since <= timedelta(days=7, hours=-1)


def test_a_rule_that_looks_back_for_days_is_not_tried() -> None:
    with pytest.raises(past.TooMuch, match="6 hours"):
        rehearse(rule(Kind.NO_SUCCESS, seconds=24 * 3600.0), ago(60), NOW)


def test_what_is_too_much_to_read_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(past, "MOST_ROWS", 3)
    for minute in range(1, 6):
        ended(minute, succeeded=1)
    with pytest.raises(past.TooMuch):
        rehearse(rule(Kind.FAILURE_SHARE), ago(60), NOW)
