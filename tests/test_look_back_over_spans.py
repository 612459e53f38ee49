"""A span of the past: its figures and its chart for that very span, from whatever buckets are kept of it."""

from __future__ import annotations

import contextlib
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.db import connection
from django.http import QueryDict
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from hypothesis import example, given
from hypothesis import strategies as st

from dashboard import moments
from dashboard.moments import NoMoment
from jobs import past_span
from jobs.models import Bucket, Cluster, QueueSample, Reach, WorkerSample
from jobs.past import look_back
from jobs.past_frame import overview_then, queue_then
from jobs.past_span import PastSpan, cover
from jobs.retention import Retention
from jobs.rollups import Sketches
from jobs.scopes import EVERYTHING
from tests.plans import is_dear, make_large
from tests.seed import seed

NOW = datetime(2026, 11, 21, 12, 30, 20, tzinfo=UTC)
NOON = 1_795_262_400  # 2026-11-21 12:00
PLACES = ("/", "/queues/", "/queues/high/", "/workers/")
HOUR, DAY = 3600, 86_400


def bucket(at: int, ended: int, *, failed: int = 0, queue: str = "high", took: float = 2.0) -> None:
    """As the monitor writes: a minute, its hour and its day."""
    for tier in (Bucket.MINUTE, Bucket.HOUR, Bucket.DAY):
        row, _ = Bucket.objects.get_or_create(tier=tier, start=at // tier, task="t", queue=queue)
        sketches = Sketches.loads(row.sketches)
        for _ in range(ended):
            sketches.at("succeeded", "total").add(took)
        row.succeeded, row.failed = row.succeeded + ended, row.failed + failed
        row.sketches = sketches.dumps()
        row.save()


def forgotten(tier: int, before: int) -> None:
    Bucket.objects.filter(tier=tier, start__lt=before // tier).delete()


def told(since: int, until: int, **more: Any) -> Any:
    """The overview of a span, as it is told at NOW."""
    began = past_span.read_began(Cluster.DEFAULT_ID) or 0
    span = PastSpan.kept(since, until, NOW.timestamp(), Retention(), began)
    at = datetime.fromtimestamp(span.until - 60, UTC)
    kept_since = NOW - Retention().minutes
    return overview_then(look_back(Cluster.DEFAULT_ID, at, EVERYTHING, kept_since, span))


@pytest.mark.django_db
def test_figures_and_chart_are_those_of_the_span_alone() -> None:
    bucket(NOON - 600 - 60, 100, failed=100, took=90.0)
    bucket(NOON - 600, 10)
    bucket(NOON - 60, 5, failed=5)
    bucket(NOON, 100, failed=100, took=90.0)
    frame = told(NOON - 600, NOON)
    figures = frame["figures"]
    assert (figures["succeeded"], figures["failed"], figures["ended"]) == (15, 5, 20)
    assert figures["success"] == 0.75
    assert figures["rate"] == 20 * 6
    assert figures["p95"] == pytest.approx(2.0, rel=0.05)
    assert frame["chart"]["finished"] == [10, 0, 0, 0, 0, 0, 0, 0, 0, 10]
    assert frame["chart"]["failed"][-1] == 5
    assert (frame["chart"]["start"], frame["chart"]["step"]) == (NOON - 600, 60)


@pytest.mark.django_db
def test_a_long_span_is_read_by_the_hour_and_ends_to_the_minute() -> None:
    began = NOON - 20 * HOUR
    for at, ended in ((began, 1), (began + 29 * 60, 2), (began + 30 * 60, 4), (NOON - HOUR, 8), (NOON, 16)):
        bucket(at, ended)
    frame = told(began + 30 * 60, NOON)
    assert frame["chart"]["step"] == HOUR
    assert frame["figures"]["succeeded"] == 12
    assert [frame["chart"]["finished"][0], frame["chart"]["finished"][-1]] == [4, 8]
    assert len(frame["chart"]["finished"]) == 20
    assert set(frame["chart"]["oldest"]) == {None}, "samples of so long a time are not read"


@pytest.mark.django_db
def test_a_month_and_more_is_read_by_the_day() -> None:
    for days in range(60):
        bucket(NOON - days * DAY, 3)
    for tier, kept in ((Bucket.MINUTE, 7 * DAY), (Bucket.HOUR, 90 * DAY)):
        forgotten(tier, int(NOW.timestamp()) - kept)
    frame = told(NOON - 50 * DAY, NOON)
    assert frame["chart"]["step"] == DAY
    assert frame["figures"]["succeeded"] == 50 * 3


@pytest.mark.django_db
def test_a_span_whose_minutes_are_forgotten_is_widened_and_says_so() -> None:
    at = NOON - 30 * DAY
    bucket(at + 5 * 60, 7)
    bucket(at + HOUR, 100)
    forgotten(Bucket.MINUTE, int(NOW.timestamp()) - 7 * DAY)
    frame = told(at + 20 * 60, at + 40 * 60)
    assert frame["span"]["widened"] is True
    assert (frame["span"]["since"], frame["span"]["until"]) == (at, at + HOUR)
    assert (frame["figures"]["succeeded"], frame["chart"]["finished"]) == (7, [7])
    assert {(row["in"], row["out"], row["depth"]) for row in frame["queues"]} == {(None, None, None)}


@pytest.mark.django_db
def test_an_end_whose_hour_is_forgotten_in_part_is_widened() -> None:
    at = NOON - 7 * DAY
    bucket(at + 5 * 60, 7)
    bucket(at + 50 * 60, 1)
    forgotten(Bucket.MINUTE, int(NOW.timestamp()) - 7 * DAY)
    frame = told(at - HOUR, at + 33 * 60)
    assert (frame["span"]["widened"], frame["span"]["until"]) == (True, at + HOUR)
    assert frame["figures"]["succeeded"] == 8
    kept = told(at + 31 * 60, at + 33 * 60)
    assert (kept["span"]["widened"], kept["figures"]["succeeded"]) == (False, 0)


@pytest.mark.django_db
def test_what_was_before_the_record_is_unknown_and_not_zero() -> None:
    bucket(NOON - HOUR, 6)
    frame = told(NOON - 2 * HOUR, NOON)
    assert frame["span"]["cut"] is True
    assert frame["chart"]["finished"][:60] == [None] * 60
    assert frame["chart"]["finished"][60:62] == [6, 0]
    assert frame["figures"]["rate"] == 6.0


@pytest.mark.django_db
def test_days_tell_of_a_record_whose_hours_are_forgotten() -> None:
    bucket(NOON - 200 * DAY, 4)
    bucket(NOON - HOUR, 1)
    forgotten(Bucket.HOUR, NOON - 90 * DAY)
    assert past_span.read_began(Cluster.DEFAULT_ID) == (NOON - 200 * DAY) // DAY * DAY
    forgotten(Bucket.DAY, NOON - 5 * DAY)
    assert past_span.read_began(Cluster.DEFAULT_ID) == NOON - HOUR


@pytest.mark.django_db
def test_too_many_buckets_leave_the_percentile_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    bucket(NOON - 120, 1)
    bucket(NOON - 60, 1)
    monkeypatch.setattr(past_span, "MOST_BUCKETS", 1)
    figures = told(NOON - 600, NOON)["figures"]
    assert (figures["p95"], figures["counted"], figures["succeeded"]) == (None, False, 2)


@pytest.mark.django_db
def test_waits_are_those_of_the_last_look_in_each_minute() -> None:
    bucket(NOON - 600, 1)
    for seconds, depth, waited in ((61, 5, 9.0), (66, 5, 4.0), (120, 0, 0.0)):
        at = datetime.fromtimestamp(NOON - 600 + seconds, UTC)
        WorkerSample.objects.create(at=at, online=1, known=1)
        oldest_at = at - timedelta(seconds=waited) if depth else None
        QueueSample.objects.create(queue="high", at=at, depth=depth, oldest_at=oldest_at)
    frame = told(NOON - 600, NOON)
    assert frame["chart"]["oldest"][:4] == [None, 4.0, 0.0, None]
    assert frame["figures"]["oldest"] == 4.0


@pytest.mark.django_db
def test_one_queue_has_a_chart_of_its_own() -> None:
    bucket(NOON - 120, 3, queue="high")
    bucket(NOON - 120, 5, queue="low")
    span = PastSpan(NOON - 300, NOON)
    then = look_back(Cluster.DEFAULT_ID, datetime.fromtimestamp(NOON - 60, UTC), EVERYTHING, None, span)
    frame = queue_then("high", then)
    assert frame is not None
    assert frame["chart"]["finished"] == [0, 0, 0, 3, 0]


@given(st.integers(0, 10 * 1440), st.integers(1, 10 * 1440), st.sampled_from([60, HOUR, DAY]))
def test_each_minute_of_a_span_is_in_one_bucket(begin: int, minutes: int, widest: int) -> None:
    parts = cover(begin * 60, (begin + minutes) * 60, widest)
    covered = [
        minute
        for tier, part in parts
        for number in part
        for minute in range(number * tier // 60, (number + 1) * tier // 60)
    ]
    assert sorted(covered) == list(range(begin, begin + minutes))
    assert max(tier for tier, _ in parts) <= widest
    assert sum(len(part) for tier, part in parts if tier < widest) <= max(
        minutes if widest == 60 else 0, 2 * (59 + 23)
    )


# How many minutes ago an end may be: anything, and often close to where minutes or hours are forgotten.
BACK = st.one_of(
    st.integers(1, 3_000 * 1440), st.integers(6 * 1440, 8 * 1440), st.integers(88 * 1440, 92 * 1440)
)


@given(BACK, st.one_of(st.integers(1, 3_000 * 1440), st.integers(1, 1440)))
@example(back=7 * 1440 - 3, minutes=240)
@example(back=90 * 1440 - 60, minutes=3 * 1440)
def test_no_span_is_told_by_buckets_that_are_forgotten(back: int, minutes: int) -> None:
    now, kept = NOW.timestamp(), Retention()
    since = (int(now) // 60 - back - minutes) * 60
    span = PastSpan.kept(since, since + minutes * 60, now, kept)
    assert span.since <= since
    assert span.until >= since + minutes * 60
    assert span.until <= now
    for tier, age in ((Bucket.MINUTE, kept.minutes), (Bucket.HOUR, kept.hours)):
        of_tier = [part for width, part in cover(span.since, span.until, DAY) if width == tier and part]
        assert all((part.start + 1) * tier > now - age.total_seconds() for part in of_tier)


# What may be asked


@given(st.dictionaries(st.sampled_from(["at", "since", "until"]), st.text(max_size=30)))
def test_whatever_is_asked_for_is_a_span_or_a_reason(asked: dict[str, str]) -> None:
    with contextlib.suppress(NoMoment):
        assert moments.wanted(asked, NOW, 0).at < NOW


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        ({"since": "yesterday", "until": "today"}, "That is no moment"),
        ({"since": "2026-01-01T00:00", "until": "2999-01-01T00:00"}, "The span ends in the future"),
        ({"since": "2999-01-01T00:00"}, "The span ends before it begins"),
        ({"since": "2026-01-02T00:00", "until": "2026-01-01T00:00"}, "The span ends before it begins"),
        ({"since": "2026-01-02T00:00", "until": "2026-01-02T00:00"}, "The span ends before it begins"),
        ({"since": "2019-01-01T00:00", "until": "2020-01-01T00:00"}, "The record begins at"),
        ({"since": "0001-01-01T00:00"}, "That is too long at once"),
        ({"until": "0001-01-01T00:00"}, "The record begins at"),
    ],
)
@pytest.mark.parametrize("place", PLACES)
def test_a_span_that_can_not_be_shown_says_why(
    visitor: Client, place: str, asked: dict[str, str], reason: str
) -> None:
    seed(timezone.now())
    response = visitor.get(place, asked)
    assert (response.status_code, reason in response.content.decode()) == (400, True)


def test_one_end_is_enough() -> None:
    over = NOON + 30 * 60
    since = moments.wanted({"since": "2026-11-21T12:10"}, NOW, 0).span
    until = moments.wanted({"until": "2026-11-21T12:10"}, NOW, 0).span
    assert (since, until) == (PastSpan(NOON + 600, over), PastSpan(NOON + 600 - HOUR, NOON + 600))


def test_a_span_that_ends_at_midnight_says_the_day_that_begins_then() -> None:
    past = moments.wanted({"since": "2026-11-20T22:00", "until": "2026-11-21T00:00"}, NOW, 0)
    said = moments._around(past, QueryDict(), NOW)
    assert (said["day"], said["end_day"]) == ("2026-11-20", "2026-11-21")


def ways(since: str, until: str, began: int = 0) -> list[str]:
    past = moments.wanted({"since": since, "until": until}, NOW, began)
    return [str(step.words) for step in moments._around(past, QueryDict(), NOW)["steps"]]


def test_only_spans_that_can_be_shown_are_offered() -> None:
    assert ways("2026-11-21T11:00", "2026-11-21T12:00") == ["Span before", "Span after", "Zoom out"]
    assert ways("2026-11-21T11:00", "2026-11-21T12:00", NOON - HOUR) == ["Span after", "Zoom out"]
    assert ways("2023-01-01T00:00", "2026-11-21T00:00") == ["Span before", "Span after"]


@pytest.mark.django_db
def test_a_span_of_too_many_buckets_says_so(visitor: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    seed(timezone.now())
    monkeypatch.setattr(past_span, "MOST_COUNTED", 1)
    response = visitor.get("/", asked(1, 30))
    assert (response.status_code, "That is too much at once" in response.content.decode()) == (400, True)


# The pages


def asked(minutes_ago: int = 30, length: int = 10) -> dict[str, str]:
    until = timezone.now() - timedelta(minutes=minutes_ago)
    return {"since": moments.field(until - timedelta(minutes=length)), "until": moments.field(until)}


@pytest.mark.django_db
@pytest.mark.parametrize("place", PLACES)
def test_a_page_of_a_span_is_loud_about_it_and_keeps_it(visitor: Client, place: str) -> None:
    seed(timezone.now())
    span = asked()
    said = visitor.get(place, {**span, "cluster": "default"}).content.decode()
    minute = r"<time[^>]*>\d\d:\d\d</time>"
    assert re.search(rf"The system from .*{minute} to .*{minute} UTC", said)
    assert "data-watch" not in said
    kept = f"since={span['since']}&amp;until={span['until']}&amp;cluster=default"
    if place != "/workers/":
        assert kept in said, "its links lead on with the span and the cluster"
    assert f'name="until" type="datetime-local" value="{span["until"]}"' in said
    before = asked(40)
    assert f"?since={before['since']}&amp;until={before['until']}&amp;cluster=default" in said
    assert "Zoom out" in said


@pytest.mark.django_db
def test_the_failures_of_a_span_lead_to_its_jobs(visitor: Client) -> None:
    seed(timezone.now())
    span = asked(1, 30)
    said = visitor.get("/", span).content.decode()
    address = f"/jobs/?state=failed&amp;since={span['since']}&amp;until={span['until']}"
    assert address in said
    listed = visitor.get(address.replace("&amp;", "&"))
    assert {job.state for job in listed.context["page"].jobs} == {"failed"}


@pytest.mark.django_db
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("length", [10, 5 * 60, 20 * 60, 40 * 24 * 60])
def test_a_page_of_a_span_is_read_flatly(client: Client, ops: User, place: str, length: int) -> None:
    seed(timezone.now())
    make_large()
    client.force_login(ops)
    with CaptureQueriesContext(connection) as captured:
        assert client.get(place, asked(5, length)).status_code == 200
    statements = [query["sql"] for query in captured.captured_queries]
    assert [sql for sql in statements if "nightdesk" in sql and is_dear(sql)] == []
    assert len(statements) <= 15, "\n".join(statements)


@pytest.mark.django_db
def test_a_narrow_reach_sees_its_own_part_of_a_span(client: Client) -> None:
    bucket(int(timezone.now().timestamp()) // 60 * 60 - 600, 5, failed=5, queue="high")
    bucket(int(timezone.now().timestamp()) // 60 * 60 - 600, 2, queue="low")
    vi = User.objects.create_user("vi")
    vi.groups.add(Group.objects.get(name="viewer"))
    Reach.objects.create(user=vi, queues="low", tasks="*")
    client.force_login(vi)
    figures = client.get("/", asked(5)).context["frame"]["figures"]
    assert (figures["succeeded"], figures["failed"]) == (2, 0)


@pytest.mark.django_db
def test_the_table_of_each_chart_leads_back_to_its_steps(visitor: Client) -> None:
    seed(timezone.now())
    task = visitor.get("/tasks/workers.demo.tasks.send_webhook/?window=1h&cluster=default").content.decode()
    steps = re.findall(r'href="(/\?since=[^"]*&amp;until=[^"]*&amp;cluster=default)"', task)
    assert len(steps) == 59, "all but the running minute"
    waits = re.findall(r'href="(/queues/high/\?since=[^"]*)"', visitor.get("/queues/high/").content.decode())
    assert len(waits) == 29, "all but the running two minutes"
    for address in (steps[0], steps[-1], waits[0], waits[-1]):
        assert visitor.get(address.replace("&amp;", "&")).status_code == 200
