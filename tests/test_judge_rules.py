"""What each kind of rule finds in the facts, and what it leaves alone."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import connection
from django.db.migrations.loader import MigrationLoader

from jobs.access import Span
from jobs.alerts import judging, kinds
from jobs.alerts.built_in import BUILT_IN, ensure_rules
from jobs.alerts.facts.errors import Failure, seen
from jobs.alerts.findings import Findings, of_queue
from jobs.alerts.looking import LOOKS, Asked
from jobs.alerts.shapes import (
    DeadFacts,
    Ends,
    ErrorFacts,
    Place,
    QueueFacts,
    StreamFacts,
    SuccessFacts,
    TickFacts,
    WorkerFacts,
)
from jobs.alerts.words import summary
from jobs.models import Rule, SeenError
from jobs.models.alerts import About, Kind
from jobs.rollups import Sketch

NOW = datetime(2026, 11, 20, 3, 0, tzinfo=UTC)
MAIL = QueueFacts("mail", depth=5, oldest=90.0, target=60.0, readers=1, free=1, paused=False)


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def holds(found: Findings) -> dict[str, bool | None]:
    assert found is not None
    return {finding.key: finding.holds for finding in found}


def test_a_share_of_failures_is_judged_where_enough_jobs_ended() -> None:
    ends = {
        Place("shop.sync", "low"): Ends(10, 30),
        Place("shop.mail", "low"): Ends(100, 2),
        Place("shop.rare", "low"): Ends(0, 3),
    }
    assert holds(judging.failure_share(kinds.FailureShare(), ends)) == {"shop.sync": True, "shop.mail": False}
    assert holds(judging.failure_share(kinds.FailureShare(by="queue"), ends)) == {"low": True}


def test_an_alert_of_a_task_names_its_queue_only_if_it_has_one() -> None:
    ends = {Place("a", "low"): Ends(0, 30), Place("b", "low"): Ends(0, 30), Place("b", "high"): Ends(0, 30)}
    found = judging.failure_share(kinds.FailureShare(), ends)
    assert found is not None
    assert {finding.key: finding.queue for finding in found} == {"a": "low", "b": None}


@pytest.mark.parametrize(
    ("now", "before", "rises"),
    [
        (Ends(80, 20), Ends(990, 10), True),
        (Ends(80, 20), Ends(800, 200), False),
        (Ends(19, 1), Ends(1000, 0), False),
        (Ends(15, 5), Ends(1000, 0), True),
        (Ends(9_900, 100), Ends(1_000_000, 0), False),
    ],
    ids=["twenty times", "as ever", "one is chance", "five are not", "below what matters"],
)
def test_failures_rise_above_what_is_usual_only_if_that_is_sure(
    now: Ends, before: Ends, *, rises: bool
) -> None:
    place = Place("shop.sync", "low")
    assert holds(judging.failure_rise(kinds.FailureRise(), {place: now}, {place: before})) == {
        "shop.sync": rises
    }


def test_what_has_no_past_is_not_compared_with_it() -> None:
    place = Place("shop.new", "low")
    assert judging.failure_rise(kinds.FailureRise(), {place: Ends(0, 50)}, {place: Ends(3, 1)}) == []


def test_a_percentile_is_judged_over_all_tasks_of_a_queue() -> None:
    sketches = {Place("a", "low"): sketch(*[1.0] * 15), Place("b", "low"): sketch(*[300.0] * 10)}
    assert holds(judging.slow(kinds.Slow(), sketches)) == {"low": True}
    assert holds(judging.slow(kinds.Slow(percentile=0.5), sketches)) == {"low": False}


def sketch(*durations: float) -> Sketch:
    made = Sketch()
    for each in durations:
        made.add(each)
    return made


QUEUES: list[tuple[str, QueueFacts, dict[str, bool | None]]] = [
    ("late", MAIL, {"oldest": True, "none": False, "stalled": False}),
    ("paused", replace(MAIL, paused=True, readers=0), {"oldest": None, "none": None, "stalled": None}),
    ("in time", replace(MAIL, oldest=50.0), {"oldest": False, "none": False, "stalled": False}),
    (
        "without stamps",
        replace(MAIL, oldest=None),
        {"oldest": None, "none": False, "stalled": False},
    ),
    ("nobody", replace(MAIL, readers=0, free=0), {"oldest": True, "none": True, "stalled": False}),
    (
        "one reader tells nothing",
        replace(MAIL, readers=None, free=None),
        {"oldest": True, "none": False, "stalled": None},
    ),
    ("unasked", replace(MAIL, depth=None, oldest=None), {"oldest": None, "none": None, "stalled": None}),
    ("nothing taken", replace(MAIL, waited=121.0), {"oldest": True, "none": False, "stalled": True}),
    ("all busy", replace(MAIL, waited=121.0, free=0), {"oldest": True, "none": False, "stalled": False}),
    ("one taken", replace(MAIL, waited=121.0, taken=1), {"oldest": True, "none": False, "stalled": False}),
]


@pytest.mark.parametrize(
    ("queue", "expected"), [each[1:] for each in QUEUES], ids=[each[0] for each in QUEUES]
)
def test_a_queue_is_judged(queue: QueueFacts, expected: dict[str, bool | None]) -> None:
    found = {
        "oldest": judging.oldest(kinds.Oldest(), [queue]),
        "none": judging.no_consumer(kinds.NoConsumer(), [queue]),
        "stalled": judging.stalled(kinds.Stalled(), [queue]),
    }
    assert {name: holds(each).get("mail") for name, each in found.items()} == expected


def test_depth_is_judged_also_where_a_queue_is_paused() -> None:
    deep = replace(MAIL, depth=20_000, paused=True)
    assert holds(judging.depth(kinds.Depth(), [deep])) == {"mail": True}


def test_a_dead_worker_matters_if_it_had_jobs_in_hand() -> None:
    workers = [WorkerFacts("a@host", 40.0, 2), WorkerFacts("b@host", 40.0, 0)]
    assert holds(judging.worker_dead(kinds.WorkerDead(), workers)) == {"a@host": True, "b@host": False}


def test_the_missed_ticks_of_a_schedule_are_one_alert() -> None:
    ticks = [TickFacts("nightly", ago(100), 100.0), TickFacts("nightly", ago(40), 40.0)]
    found = judging.missed_tick(kinds.MissedTick(), [*ticks, TickFacts("pulse", ago(2), 2.0)])
    assert found is not None
    assert [(each.key, each.evidence["value"], each.evidence["missed"]) for each in found] == [
        ("nightly", 100.0, 2)
    ]


def test_a_beat_that_nobody_ever_started_is_not_silent() -> None:
    assert holds(judging.beat_silent(kinds.BeatSilent(), None)) == {"beat": None}
    assert holds(judging.beat_silent(kinds.BeatSilent(), 31.0)) == {"beat": True}


def test_a_task_that_only_fails_has_no_success_and_one_that_never_runs_if_it_is_named() -> None:
    tasks = [
        SuccessFacts("a", None, Ends(0, 6), ago(7200)),
        SuccessFacts("b", None, Ends(1, 9), NOW),
        SuccessFacts("c", None, Ends(0, 2), None),
    ]
    assert holds(judging.no_success(kinds.NoSuccess(), tasks, [], NOW)) == {"a": True, "b": False, "c": False}
    assert holds(judging.no_success(kinds.NoSuccess(at_least=0), [], ["backup"], NOW)) == {"backup": True}


def test_an_error_is_new_for_a_while_after_it_appeared_or_came_back() -> None:
    known = ErrorFacts("a", "KeyError", "low", ago(90_000), ago(1), None)
    errors = [
        known,
        replace(known, task="b", first_at=ago(60)),
        replace(known, task="c", returned_at=ago(60)),
        replace(known, task="d", first_at=ago(1000)),
    ]
    found = judging.new_error(kinds.NewError(), errors, ago(100_000), NOW)
    assert holds(found) == {
        "a: KeyError": False,
        "b: KeyError": True,
        "c: KeyError": True,
        "d: KeyError": False,
    }
    assert True not in holds(judging.new_error(kinds.NewError(), errors, ago(30), NOW)).values()


def test_failures_become_known_errors_and_one_after_a_day_of_silence_has_returned() -> None:
    fresh, moved = seen([Failure("a", "low", "KeyError: 'x'", ago(10))], {}, 1)
    assert [(row.task, row.exception, row.queue, row.first_at) for row in fresh] == [
        ("a", "KeyError", "low", ago(10))
    ]
    assert moved == []
    error = SeenError(task="a", exception="KeyError", queue="low", first_at=ago(200_000), last_at=ago(90_000))
    known = {("a", "KeyError"): error}
    assert seen([Failure("a", "low", "KeyError('y')", ago(10))], known, 1) == ([], [error])
    assert (error.returned_at, error.last_at) == (ago(10), ago(10))
    assert seen([Failure("a", "low", "KeyError('y')", ago(10))], known, 1) == ([], [])


def test_dead_letters_are_counted_task_by_task() -> None:
    dead = [DeadFacts("a", "low", 2), DeadFacts("a", "high", 1), DeadFacts(None, None, 4)]
    found = judging.dead_letters(kinds.DeadLetters(), dead)
    assert found is not None
    assert [(each.about, each.key, each.queue, each.evidence["value"]) for each in found] == [
        (About.TASK, "a", None, 3),
        (About.RECORD, "dead letters", None, 4),
    ]


def test_the_record_is_judged_by_its_lag_its_gaps_and_its_broker() -> None:
    well = StreamFacts(lag=0.2, gap_ended=None, lost=0, broker_ok=True)
    assert holds(judging.stream(kinds.Stream(), well, NOW)) == {"lag": False, "gap": False, "broker": False}
    ill = StreamFacts(lag=31.0, gap_ended=ago(60), lost=None, broker_ok=False)
    assert holds(judging.stream(kinds.Stream(), ill, NOW)) == {"lag": True, "gap": True, "broker": True}
    unknown = StreamFacts(lag=None, gap_ended=None, lost=0, broker_ok=None)
    assert holds(judging.stream(kinds.Stream(), unknown, NOW)) == {"lag": None, "gap": False, "broker": None}


def test_a_rule_covers_what_its_patterns_name() -> None:
    rule = Rule(kind=Kind.FAILURE_SHARE, tasks="shop.*", queues="low,high")
    places = {Place("shop.a", "low"): 1, Place("shop.a", "mail"): 2, Place("x", "low"): 3}
    assert Asked.by(rule).among(places) == {Place("shop.a", "low"): 1}
    assert Asked.by(rule).span == Span(("high", "low"), ("shop.*",))


@pytest.mark.parametrize("kind", Kind.values)
def test_each_kind_can_be_read_looked_at_told_in_a_form_and_said_in_a_sentence(kind: str) -> None:
    assert kinds.read(kind, {}) == kinds.read(kind, kinds.defaults(kind))
    assert kind in LOOKS
    assert kinds.told(kind).keys() == kinds.defaults(kind).keys()
    keys = ("lag", "gap", "broker") if kind == Kind.STREAM else ("mail",)
    for key in keys:
        assert "{" not in summary(kind, of_queue(key, True, {}))


@pytest.mark.parametrize(
    ("params", "why"),
    [
        ({"more_than": "x"}, "more_than is not a number"),
        ({"more_than": 1.5}, "more_than is a number from 0 to 1"),
        ({"at_least": 2.5}, "at_least is a whole number from 1"),
        ({"at_least": True}, "at_least is not a number"),
        ({"by": "worker"}, "by is one of task, queue"),
        ({"moor": 1}, "there is no parameter 'moor'"),
        ([], "not a JSON object"),
    ],
)
def test_parameters_that_make_no_sense_are_refused_in_one_line(params: Any, why: str) -> None:
    with pytest.raises(kinds.Unreadable, match=why):
        kinds.read(Kind.FAILURE_SHARE, params)
    with pytest.raises(ValidationError, match=why):
        Rule(name="x", kind=Kind.FAILURE_SHARE, params=params).clean()


@pytest.mark.parametrize("changes", [{"quiet_zone": "Mars/Olympus"}, {"quiet_from": "22:00"}])
def test_quiet_hours_that_make_no_sense_are_refused(changes: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        Rule(name="x", kind=Kind.DEPTH, **changes).clean()


@pytest.mark.django_db
def test_the_first_start_brings_a_rule_of_each_kind_and_the_next_one_leaves_edits_alone() -> None:
    assert set(Rule.objects.values_list("kind", flat=True)) == set(Kind.values)
    for made in Rule.objects.all():
        made.full_clean()
    Rule.objects.filter(built_in="depth").update(name="long queues", enabled=False)
    Rule.objects.filter(built_in="oldest").delete()
    ensure_rules()
    assert Rule.objects.get(built_in="depth").name == "long queues"
    assert set(Rule.objects.values_list("built_in", flat=True)) == set(BUILT_IN)


@pytest.mark.django_db
def test_a_database_from_before_there_were_rules_is_left_alone() -> None:
    before = MigrationLoader(connection).project_state(("nightdesk_jobs", "0019_published_retries"))
    ensure_rules(apps=before.apps)
