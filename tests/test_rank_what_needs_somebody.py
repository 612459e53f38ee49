"""What needs somebody: which rows there are, in which order, and that one thing is told once."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from jobs.attention import WHATS, Attention, Facts, Told, attention
from jobs.headlines import Flow
from jobs.models.alerts import About, Kind, Severity

NOW = datetime(2026, 11, 21, 3, 4, tzinfo=UTC)
AT = NOW.timestamp()


def told(kind: str = Kind.NO_CONSUMER, about: str = "queue", key: str = "high", **more: Any) -> Told:
    since = NOW - timedelta(minutes=more.pop("minutes", 10))
    known: dict[str, Any] = {
        "id": 1,
        "kind": kind,
        "rule": kind,
        "about": about,
        "key": key,
        "task": key if about in ("task", "error") else None,
        "severity": "warn",
        "since": since,
        "fired_at": since,
        "resolved_at": None,
        "owner": "",
        "silenced": False,
        "evidence": {},
    }
    return Told(**{**known, **more})


def queue(name: str = "high", state: str = "none", **more: Any) -> dict[str, Any]:
    known = {"verdict": state, "depth": 9, "oldest": 60.0, "waiting_since": AT - 60, "target": 5.0}
    return {"name": name, "state": state, "busy": 2, "slots": 4, "drains": None, **known, **more}


def worker(name: str, silent: float = 60.0, busy: int | None = 1) -> dict[str, Any]:
    return {"name": name, "busy": busy, "seen": AT - silent}


def whats(found: Attention) -> list[tuple[str, str]]:
    return [(need.what, need.name) for need in found.needs]


def test_where_nothing_is_wrong_nothing_needs_anybody() -> None:
    found = attention(Facts(AT, queues=[queue(state="healthy")]), [])
    assert (found.needs, found.word, found.since) == ([], "quiet", None)


def test_an_alert_and_what_the_record_shows_of_the_same_queue_are_one_row() -> None:
    found = attention(
        Facts(AT, queues=[queue(depth=12)]),
        [told(id=7, severity="page", evidence={"value": 9, "readers": 0}), told(Kind.SLOW, id=8)],
    )
    (need,) = found.needs
    assert (need.what, need.alert, need.more) == (Kind.NO_CONSUMER, 7, 1)
    assert (need.facts["value"], need.facts["readers"]) == (12, 0)
    assert need.since == AT - 600


def test_the_alert_of_a_thing_is_kept_where_the_record_shows_worse() -> None:
    (need,) = attention(Facts(AT, queues=[queue()]), [told(Kind.SLOW, id=8, owner="ana")]).needs
    assert (need.what, need.severity, need.alert, need.owner) == (Kind.NO_CONSUMER, "page", 8, "ana")


def test_a_late_queue_is_told_by_its_verdict() -> None:
    late = [
        queue("a", "late", verdict="capacity"),
        queue("b", "late", verdict="growing"),
        queue("c", "late"),
    ]
    assert whats(attention(Facts(AT, queues=late), [])) == [
        ("capacity", "a"),
        ("growing", "b"),
        ("oldest", "c"),
    ]


def test_a_queue_whose_workers_are_just_starting_is_not_told() -> None:
    assert attention(Facts(AT, queues=[queue(oldest=3.0)]), []).needs == []
    assert whats(attention(Facts(AT, queues=[queue(oldest=None)]), [])) == [("no consumer", "high")]


def test_workers_that_are_gone_are_one_row() -> None:
    gone = [worker("a@h", 90.0, 2), worker("b@h", 60.0, 3), worker("c@h", 60.0, 0)]
    (need,) = attention(Facts(AT, dead=gone), []).needs
    assert (need.name, need.facts["workers"], need.facts["value"], need.since) == ("a@h", 3, 5, AT - 90)


def test_what_ran_on_workers_that_are_gone_is_not_known_if_one_of_them_never_told() -> None:
    gone = [worker("a@h", 90.0, 2), worker("c@h", 60.0, None)]
    (need,) = attention(Facts(AT, dead=gone), []).needs
    assert (need.facts["workers"], need.facts["value"]) == (2, None)


def test_what_nobody_can_tell_of_workers_that_are_gone_is_not_nothing() -> None:
    (need,) = attention(Facts(AT, dead=[worker("a@h", busy=None)]), []).needs
    assert need.facts["value"] is None


def test_a_task_that_fails_more_than_in_the_day_before_is_told() -> None:
    lately, day = {"t": Flow(succeeded=60, failed=40)}, {"t": Flow(succeeded=9_060, failed=50)}
    (need,) = attention(Facts(AT, lately=lately, tasks=day), []).needs
    assert (need.what, need.name, need.severity) == (Kind.FAILURE_RISE, "t", "warn")
    assert need.facts["usual"] == 10 / 9_010


def test_a_task_that_always_fails_like_this_is_not_told() -> None:
    lately, day = {"t": Flow(succeeded=60, failed=40)}, {"t": Flow(succeeded=6_060, failed=4_040)}
    assert attention(Facts(AT, lately=lately, tasks=day), []).needs == []


def test_a_task_most_of_which_fails_is_a_page() -> None:
    lately, day = {"t": Flow(failed=90, succeeded=10)}, {"t": Flow(succeeded=9_010, failed=90)}
    (need,) = attention(Facts(AT, lately=lately, tasks=day), []).needs
    assert need.severity == "page"


def test_an_error_of_a_task_and_its_failures_are_one_row() -> None:
    alerts = [told(Kind.NEW_ERROR, "error", "t: KeyError", task="t"), told(Kind.FAILURE_SHARE, "task", "t")]
    assert whats(attention(Facts(AT), alerts)) == [("failure share", "t")]


def test_what_is_silenced_is_counted_and_not_told() -> None:
    found = attention(Facts(AT, queues=[queue()]), [told(silenced=True)])
    assert (found.needs, found.silenced, found.word) == ([], 1, "quiet")


def test_what_is_pending_or_over_is_not_told() -> None:
    over = told(resolved_at=NOW)
    assert attention(Facts(AT), [told(fired_at=None), over]).needs == []


def test_a_gap_is_news_for_a_quarter_of_an_hour() -> None:
    assert whats(attention(Facts(AT, last_gap=AT - 60, lost=3), [])) == [("gap", "gap")]
    assert attention(Facts(AT, last_gap=AT - 901, lost=3), []).needs == []


def test_information_alone_is_quiet_unless_a_rule_told_it() -> None:
    gap = attention(Facts(AT, last_gap=AT - 60), [])
    assert gap.word == "quiet"
    told_so = attention(Facts(AT), [told(Kind.NEW_ERROR, "error", "t: E", task="t", severity="info")])
    assert (told_so.word, told_so.since) == ("drifting", AT - 600)


def test_one_page_burns_and_the_word_is_as_old_as_the_oldest_of_them() -> None:
    alerts = [told(minutes=90), told(key="low", severity="page", minutes=5)]
    found = attention(Facts(AT, beat_silent_since=AT - 40), alerts)
    assert (found.word, found.since) == ("burning", AT - 300)


KINDS = st.sampled_from([kind.value for kind in Kind])
ALERTS = st.lists(
    st.builds(
        told,
        kind=KINDS,
        about=st.sampled_from([about.value for about in About]),
        key=st.sampled_from(["a", "b", "lag", "gap", "broker"]),
        severity=st.sampled_from([severity.value for severity in Severity]),
        owner=st.sampled_from(["", "ana"]),
        silenced=st.booleans(),
        id=st.integers(1, 9),
        minutes=st.integers(0, 99),
    ),
    max_size=8,
)
QUEUES = st.lists(
    st.builds(queue, name=st.sampled_from("abc"), state=st.sampled_from(["none", "late"])), max_size=3
)


@given(alerts=ALERTS, queues=QUEUES)
def test_it_is_the_same_in_any_order_and_tells_each_thing_once(
    alerts: list[Told], queues: list[dict[str, Any]]
) -> None:
    by_thing = {row["name"]: row for row in queues}
    facts = Facts(AT, queues=list(by_thing.values()))
    found = attention(facts, alerts)
    things = [need.thing for need in found.needs]
    assert len(things) == len(set(things))
    assert all(need.what in WHATS for need in found.needs)
    turned = attention(replace(facts, queues=list(facts.queues)[::-1]), alerts[::-1])
    assert [need.thing for need in turned.needs] == things
    assert (turned.word, turned.silenced) == (found.word, found.silenced)
    owned = [bool(need.owner) for need in found.needs]
    assert owned == sorted(owned)
