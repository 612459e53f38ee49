"""The quarantine and the gaps: what was set aside, what is missing, and what to do about it."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from dashboard.quarantine_words import MEANINGS, OTHER, meaning_of
from jobs.batch import Batch
from jobs.models import Gap, Quarantine
from jobs.record import Record
from tests.setups import a_gap, set_aside
from tests.stream import entry_of, life_of
from tests.test_templates import HOSTILE, words

pytestmark = pytest.mark.django_db
Page = Callable[..., str]


@pytest.fixture
def page(client: Client, ops: User) -> Page:
    client.force_login(ops)

    def read(address: str, status: int = 200) -> str:
        response = client.get(address)
        assert response.status_code == status
        return response.content.decode()

    return read


def test_nothing_set_aside_is_said(page: Page) -> None:
    assert "Nothing is set aside" in page("/quarantine/")


def test_what_was_set_aside_comes_by_reason_with_count_times_sample_and_what_to_do(page: Page) -> None:
    now = timezone.now()
    set_aside(now, "no task id", 1_234, "{'type': 'task-sent', 'uuid': None}")
    set_aside(now - timedelta(hours=1), "not JSON", 1, "b'[{'")
    markup = page("/quarantine/")
    shown = words(markup)
    assert re.findall(r'<h2 id="reason-\d"[^>]*>(.*?)</h2>', markup) == ["no task id", "not JSON"]
    assert "1,234 events · first" in shown
    assert "1 event · first" in shown
    assert "An event lacks what it takes to know which job" in shown
    assert "{&#x27;type&#x27;: &#x27;task-sent&#x27;, &#x27;uuid&#x27;: None}" in markup


def test_an_event_that_cannot_be_read_is_here_after_the_commit(page: Page) -> None:
    record = Record("test")
    record.commit([entry_of([*life_of("good"), {"type": "task-sent", "timestamp": 1_790_000_000.0}])])
    assert Quarantine.objects.get().reason == "no task id"
    assert "no task id" in page("/quarantine/")


def test_a_sample_is_kept_without_secrets() -> None:
    odd = {"type": "task-sent", "timestamp": 1_790_000_000.0, "kwargs": {"password": "hunter2hunter2"}}
    Record("test").commit([entry_of([odd])])
    assert "hunter2" not in Quarantine.objects.get().sample
    assert "'password': [hidden]" in Quarantine.objects.get().sample


def test_a_sample_is_text_without_secrets_and_cut(page: Page) -> None:
    secret = "{'headers': {'Authorization': 'Bearer abcdefgh12345678'}, 'password': 'hunter2hunter2'}"
    around = len(page("/quarantine/"))
    set_aside(timezone.now(), HOSTILE[:64], 1, secret + HOSTILE * 500)
    markup = page("/quarantine/")
    assert "<img" not in markup
    assert "hunter2" not in markup
    assert "abcdefgh12345678" not in markup
    assert "[hidden]" in markup
    assert len(markup) < around + 5_000


def test_a_reason_that_nobody_has_thought_of_is_shown_all_the_same(page: Page) -> None:
    set_aside(timezone.now(), "something new", 1, "{}")
    assert "These events could not be recorded" in words(page("/quarantine/"))


@pytest.mark.parametrize(
    ("odd", "meant"),
    [
        ([7], "not an object"),
        ([{"type": 7}], "no type"),
        (["[" * 100_000], "not JSON"),
        ([{"type": "worker-heartbeat", "timestamp": 1_790_000_000.0}], "no time"),
        ([{"type": "recorder-fault"}], "the recorder failed"),
    ],
)
def test_each_reason_of_the_reader_has_a_meaning(odd: list[object], meant: str) -> None:
    batch = Batch.of([entry_of(odd)])
    batch.read({})
    (reason,) = batch.odd
    assert meaning_of(reason) is MEANINGS[meant]
    assert meaning_of(reason) is not OTHER


# Gaps


def test_no_gap_is_said(page: Page) -> None:
    assert "none is known to be missing" in page("/gaps/")


def test_a_gap_says_from_until_how_many_and_why(page: Page) -> None:
    ended = timezone.now() - timedelta(minutes=3)
    gap = a_gap(ended, seconds=31, lost=402)
    shown = words(page("/gaps/"))
    assert f"{gap.began_at:%H:%M:%S}" in shown
    assert f"until {ended:%H:%M:%S}" in shown or f"{ended:%H:%M:%S}" in shown
    assert "31 s" in shown
    assert "402" in shown
    assert "its buffer was full, or it was killed" in shown


@pytest.mark.parametrize(
    ("reason", "said"), [("cap", "reached its cap"), ("replaced", "came back without"), ("odd", "odd")]
)
def test_a_gap_that_cannot_be_counted_shows_a_question_mark(page: Page, reason: str, said: str) -> None:
    a_gap(timezone.now(), reason=reason, lost=None)
    row = words(re.findall(r'<tr id="gap-.*?</tr>', page("/gaps/"), flags=re.S)[0])
    assert "?" in row
    assert said in row


def test_gaps_are_paged_by_place_each_once(page: Page) -> None:
    for number in range(120):
        a_gap(timezone.now() - timedelta(minutes=number), lost=number)
    seen: list[str] = []
    address: str | None = "/gaps/"
    while address:
        markup = page(address)
        seen += re.findall(r'<tr id="gap-(\d+)"', markup)
        following = re.search(r'rel="next" href="([^"]+)"', markup)
        address = following[1] if following else None
    assert len(seen) == 120
    assert [int(pk) for pk in seen] == sorted(Gap.objects.values_list("pk", flat=True), reverse=True)


@pytest.mark.parametrize("place", ["x", "-1", "0", str(2**63), "1'--"])
def test_a_place_that_cannot_be_read_is_said(page: Page, place: str) -> None:
    a_gap(timezone.now(), lost=1)
    page(f"/gaps/?before={place}", status=400)


def test_nothing_older_is_said_with_a_way_back(page: Page) -> None:
    a_gap(timezone.now(), lost=1)
    assert "The latest gaps" in page("/gaps/?before=1")
