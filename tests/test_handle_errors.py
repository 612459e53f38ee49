"""The pages of errors: what is listed, what one shows, what people do about it, and how far they see."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from jobs import live, search, side
from jobs.errors.grouping import group
from jobs.errors.reading import Query, find, status_of
from jobs.models import Action, Bulk, BulkItem, Cluster, Error, ErrorCount, ErrorJob, Job, Reach
from jobs.perform import Actor, Command, perform
from jobs.record import Record
from jobs.scopes import EVERYTHING
from tests.api import Program, token_of
from tests.stream import START, entries_of
from tests.test_group_errors import failing
from workers.commands.errors import Assign, Ignore, Note, Reopen, Resolve

pytestmark = pytest.mark.django_db

_producers = iter(range(1, 1_000_000))


def now_record(*events: dict[str, Any]) -> None:
    """Record events as if START was a minute ago, and group what failed."""
    shift = timezone.now().timestamp() - 60 - START
    moved = [{**event, "timestamp": event["timestamp"] + shift} for event in events]
    Record("test").commit(entries_of(moved, producer=f"pages-{next(_producers)}"))
    while group(Cluster.DEFAULT_ID):
        pass


def person(name: str, role: str = "operator") -> User:
    user = User.objects.create_user(name)
    user.groups.add(Group.objects.get(name=role))
    return user


@pytest.fixture
def ana() -> User:
    return person("ana")


@pytest.fixture
def visitor(client: Client, ana: User) -> Client:
    client.force_login(ana)
    return client


def page(client: Client, address: str, status: int = 200) -> str:
    answer = client.get(address)
    assert answer.status_code == status, answer.content[:500]
    return answer.content.decode()


def post(client: Client, address: str, **form: Any) -> int:
    return client.post(address, {"once": f"a-form-{next(_producers)}", **form}).status_code


def do(user: User, command: Command) -> Action:
    return perform(Actor(User.objects.get(pk=user.pk), "page"), command)


HOSTILE = (
    "<img src=x onerror=alert(1)>",
    "</code><script>alert(1)</script>",
    '" onfocus=alert(1) autofocus="',
    "\u202egpj.exe\x00\ud800 {{ 7*7 }}",
)


# What is listed


def test_the_list_tells_each_error_with_its_counts_and_way_to_its_jobs(visitor: Client) -> None:
    now_record(*failing("a", release="r1"), *failing("b"), *failing("c", "Boom('x')"))
    text = page(visitor, "/errors/")
    error = Error.objects.get(exception="KeyError")
    assert "<b>KeyError</b>" in text
    assert "shop/pricing.py:118 quote" in text
    assert f'href="/errors/{error.pk}/"' in text
    assert f'href="/jobs/?error={error.pk}">2</a>' in text
    assert "2 are new." in text
    assert text.index("KeyError") < text.index("Boom")


def test_new_and_regressed_ones_are_first_then_the_commonest(ana: User) -> None:
    now_record(
        *(event for n in range(3) for event in failing(f"o{n}", "Often('x')")),
        *failing("r", "Rare('x')"),
        *failing("n", "New('x')"),
        *failing("i", "Ignored('x')"),
    )
    old = timezone.now() - timedelta(days=9)
    Error.objects.exclude(exception="New").update(first_at=old)
    Error.objects.filter(exception="Ignored").update(status="ignored")
    Error.objects.filter(exception="Rare").update(status="regressed")
    listed = find(Query(view="all"), ana, timezone.now()).listed
    assert {row.error.exception for row in listed[:2]} == {"New", "Rare"}
    assert [row.error.exception for row in listed[2:]] == ["Often", "Ignored"]
    assert [row.status for row in listed[2:]] == ["unresolved", "ignored"]


def test_each_tab_has_its_errors(visitor: Client, ana: User) -> None:
    now_record(
        *failing("a", "One('x')"), *failing("b", "Two('x')"), *failing("c", "Three('x')", task="shop.sync")
    )
    one, two = (Error.objects.get(exception=name).pk for name in ("One", "Two"))
    do(ana, Resolve(one))
    do(ana, Ignore(two))
    do(ana, Assign(two, "ana"))
    told = {
        show: page(visitor, f"/errors/?show={show}") for show in ("", "mine", "ignored", "resolved", "all")
    }
    names = ("One", "Two", "Three")
    listed = {show: [name for name in names if f"<b>{name}</b>" in text] for show, text in told.items()}
    assert listed == {
        "": ["Three"],
        "mine": ["Two"],
        "ignored": ["Two"],
        "resolved": ["One"],
        "all": ["One", "Two", "Three"],
    }
    assert "<b>Three</b>" not in page(visitor, "/errors/?show=all&task=shop.pay")


def test_a_list_of_many_goes_on(visitor: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobs.errors.reading.PAGE_SIZE", 2)
    now_record(*(event for n in range(5) for event in failing(f"j{n}", f"E{'abcde'[n]}('x')", at=n % 3)))
    seen, address = set(), "/errors/"
    for _ in range(3):
        text = page(visitor, address)
        seen |= {name for name in ("Ea", "Eb", "Ec", "Ed", "Ee") if f"<b>{name}</b>" in text}
        if "Seen before" in text:
            address = "/errors/?" + text.split('rel="next" href="/errors/?')[1].split('"')[0]
    assert len(seen) == 5


def test_what_a_list_of_one_task_counts_is_of_that_task(visitor: Client) -> None:
    now_record(*failing("a", task="shop.a"), *failing("b", task="shop.b"))
    answer = visitor.get("/errors/?task=shop.a")
    assert {tab.count for tab in answer.context["tabs"]} <= {None, 0, 1}


def test_a_list_of_several_pages_counts_no_page_as_all(
    visitor: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobs.errors.reading.PAGE_SIZE", 1)
    now_record(*failing("a", "One('x')"), *failing("b", "Two('x')"))
    assert "are new." not in page(visitor, "/errors/")
    assert "is new." not in page(visitor, "/errors/")


@pytest.mark.parametrize("asked", ["?show=nope", "?before=x", "?before=99999999999999999.1"])
def test_a_question_that_cannot_be_read_says_so(visitor: Client, asked: str) -> None:
    assert "The filter can't be read" in page(visitor, f"/errors/{asked}", 400)


def test_an_empty_list_says_that_older_failures_are_not_grouped(visitor: Client) -> None:
    assert "No job yet" in page(visitor, "/errors/")
    now_record(*failing("a")[:2])
    assert "What failed before Nightdesk was upgraded is not grouped" in page(visitor, "/errors/")
    now_record(*failing("b"))
    Error.objects.update(status="resolved")
    assert "Nothing is unresolved" in page(visitor, "/errors/")


# The page of one


def test_the_page_of_one_shows_message_frame_traceback_jobs_and_hours(visitor: Client) -> None:
    now_record(*failing("job-a", release="r1"), *failing("job-b", release="r2"))
    error = Error.objects.get()
    text = page(visitor, f"/errors/{error.pk}/")
    assert "KeyError: currency" in text
    assert "<b>2 jobs</b> of" in text
    assert "rate = rates[currency]" in text
    assert 'href="/jobs/job-a/"' in text
    assert 'href="/jobs/job-b/"' in text
    assert "2 in 15 minutes" in text
    assert "w1@host" in text


def test_a_job_says_what_it_shares(visitor: Client) -> None:
    now_record(*failing("a"), *failing("b"))
    text = page(visitor, "/jobs/a/")
    assert "Same error 2 times in the last 24 hours" in text
    assert f'href="/errors/{Error.objects.get().pk}/"' in text


def test_the_jobs_of_an_error_are_listed_and_can_be_retried_together(visitor: Client, ana: User) -> None:
    now_record(*failing("a"), *failing("b"), *failing("c", "Boom('x')"))
    error = Error.objects.get(exception="KeyError")
    found = search.find(search.Query(error=error.pk), ana)
    assert ([job.task_id for job in found.jobs], found.count, found.more) == (["b", "a"], 2, False)
    assert search.find(search.Query(error=error.pk, state="succeeded"), ana).jobs == []
    narrower = search.Query(error=error.pk, task="shop.pay", queue="high", before=found.jobs[0].pk)
    assert search.find(narrower, ana).count == 2
    text = page(visitor, f"/jobs/?error={error.pk}")
    assert "of one error" in text
    assert 'href="/jobs/c/"' not in text
    assert post(visitor, "/bulk/", deed="retry", all="1", error=str(error.pk)) == 302
    bulk = Bulk.objects.get()
    assert sorted(BulkItem.objects.filter(bulk=bulk).values_list("task_id", flat=True)) == ["a", "b"]
    assert f"error: {error.pk}" in page(visitor, f"/bulk/{bulk.pk}/")


def test_what_jobs_carry_is_shown_as_text_only(visitor: Client) -> None:
    for number, hostile in enumerate(HOSTILE):
        now_record(
            *failing(f"h{number}", f"KeyError({hostile!r})", task=f"t.{hostile}"[:200], traceback=hostile)
        )
    for error in Error.objects.all():
        for address in (f"/errors/{error.pk}/", f"/errors/{error.pk}/ignore/", f"/jobs/?error={error.pk}"):
            text = page(visitor, address)
            assert "<script>alert" not in text
            assert "<img src=x" not in text
    assert "<img src=x" not in page(visitor, "/errors/")


def test_the_pages_cost_as_many_statements_for_many_errors_as_for_one(visitor: Client) -> None:
    now_record(*failing("a"))
    address = f"/errors/{Error.objects.get().pk}/"
    few = [statements(visitor, each) for each in ("/errors/", address)]
    now_record(
        *(event for n in range(25) for event in failing(f"j{n}", f"E{'abcdefghijklmnopqrstuvwxy'[n]}('x')"))
    )
    now_record(*(event for n in range(10) for event in failing(f"k{n}")))
    assert [statements(visitor, each) for each in ("/errors/", address)] == few
    assert max(few) <= 17, few


def statements(client: Client, address: str) -> int:
    client.get(address)
    with CaptureQueriesContext(connection) as captured:
        page(client, address)
    return len(captured)


# What people do


def test_what_is_done_about_an_error_is_on_its_page_and_in_the_audit(visitor: Client) -> None:
    now_record(*failing("a"))
    error = Error.objects.get()
    address = f"/errors/{error.pk}/"
    assert post(visitor, address + "resolve/") == 302
    assert "ana has resolved it." in page(visitor, address)
    assert post(visitor, address + "reopen/") == 302
    assert post(visitor, address + "ignore/", lasts="3600", times="5") == 302
    assert "until more than 5 jobs more fail" in page(visitor, address)
    assert post(visitor, address + "assign/", who="ana") == 302
    assert post(visitor, address + "note/", text="rolling back") == 302
    text = page(visitor, address)
    assert "<b>ana</b> is on it." in text
    assert "rolling back" in text
    assert "error.resolve" in text
    told = Action.objects.filter(target_kind="error", target=str(error.pk)).order_by("pk")
    assert [action.command for action in told] == [
        "error.resolve", "error.reopen", "error.ignore", "error.assign", "error.note",
    ]  # fmt: skip
    assert {action.outcome for action in told} == {"done"}


def test_a_resolved_error_that_fails_again_is_shown_as_regressed_and_counted(
    visitor: Client, ana: User
) -> None:
    now_record(*failing("a"))
    assert side.counts(EVERYTHING, timezone.now())["new_errors"] == 1
    do(ana, Resolve(Error.objects.get().pk))
    assert side.counts(EVERYTHING, timezone.now())["new_errors"] == 0
    now_record(*failing("b", at=120.0))
    assert Error.objects.get().status == "regressed"
    assert side.counts(EVERYTHING, timezone.now())["new_errors"] == 1
    assert "1 has come back." in page(visitor, "/errors/")
    assert "It has come back after ana had resolved it." in page(
        visitor, f"/errors/{Error.objects.get().pk}/"
    )


@pytest.mark.parametrize(
    ("command", "refusal"),
    [
        (lambda pk: Ignore(pk, lasts=-1.0), "until"),
        (lambda pk: Ignore(pk, lasts=60.0, until=timezone.now() + timedelta(hours=1)), "until"),
        (lambda pk: Ignore(pk, until=timezone.now() - timedelta(hours=1)), "until"),
        (lambda pk: Ignore(pk, times=-1), "times"),
        (lambda pk: Reopen(pk), "open"),
        (lambda pk: Assign(pk, "nobody-known"), "who"),
        (lambda pk: Note(pk, "x" * 501), "form"),
        (lambda pk: Resolve(pk + 1), "missing"),
    ],
)
def test_what_makes_no_sense_is_refused(ana: User, command: Any, refusal: str) -> None:
    now_record(*failing("a"))
    action = do(ana, command(Error.objects.get().pk))
    assert (action.outcome, action.refusal) == ("refused", refusal)
    assert Error.objects.get().status == "unresolved"


def test_an_error_is_new_for_a_day_unless_somebody_has_reopened_it(ana: User) -> None:
    now_record(*failing("a"))
    error, now = Error.objects.get(), timezone.now()
    assert status_of(error, now) == "new"
    assert status_of(error, now + timedelta(days=2)) == "unresolved"
    do(ana, Resolve(error.pk))
    do(ana, Reopen(error.pk))
    assert status_of(Error.objects.get(), now) == "unresolved"


# How far people see


def test_errors_beyond_a_reach_are_nowhere(client: Client) -> None:
    now_record(*failing("a", queue="high"), *failing("b", queue="low"))
    bo = person("bo")
    Reach.objects.create(user=bo, queues="low")
    client.force_login(bo)
    high, low = (Error.objects.get(queue=queue) for queue in ("high", "low"))
    text = page(client, "/errors/?show=all")
    assert (f"/errors/{low.pk}/" in text, f"/errors/{high.pk}/" in text) == (True, False)
    assert page(client, f"/errors/{high.pk}/", 404)
    assert do(bo, Resolve(high.pk)).refusal == "missing"
    assert search.find(search.Query(error=high.pk), bo).jobs == []
    scope = live.scope_of(User.objects.get(pk=bo.pk))
    assert scope is not None
    frame = live.frame(live.topic_named("queues", scope), Cluster.DEFAULT_ID, timezone.now())
    assert frame is not None
    assert frame["new_errors"] == 1


def test_a_job_says_nothing_of_an_error_beyond_a_reach_or_of_several_causes(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobs.errors.grouping.MOST_ERRORS", 0)
    now_record(*failing("a", queue="high"), *failing("b", queue="low"))
    bo = person("bo")
    Reach.objects.create(user=bo, queues="high")
    client.force_login(bo)
    assert ErrorJob.objects.count() == 2
    assert "Same error" not in page(client, "/jobs/a/")


def test_who_may_not_see_what_jobs_carry_sees_the_type_alone(client: Client) -> None:
    now_record(*failing("a", "KeyError('top secret')"))
    guest = User.objects.create_user("guest")
    guest.user_permissions.add(Permission.objects.get(codename="view_record"))
    client.force_login(guest)
    error = Error.objects.get()
    for address in ("/errors/", f"/errors/{error.pk}/", "/jobs/a/"):
        text = page(client, address)
        assert "KeyError" in text
        assert "top secret" not in text
        assert "pricing.py" not in text


def test_a_job_that_is_deleted_leaves_its_count(visitor: Client) -> None:
    now_record(*failing("a"))
    ErrorJob.objects.all().delete()
    Job.objects.all().delete()
    assert "None of its jobs is kept any more" in page(visitor, f"/errors/{Error.objects.get().pk}/")
    assert ErrorCount.objects.exists()


# What programs read


def test_programs_read_errors_and_their_jobs(ana: User) -> None:
    now_record(*failing("a"), *failing("b"), *failing("c", "Boom('x')"))
    program = Program(token_of(ana)[0])
    told = program.get("/errors").body["errors"]
    assert sorted((each["exception"], each["times"]) for each in told) == [("Boom", 1), ("KeyError", 2)]
    number = Error.objects.get(exception="KeyError").pk
    one = program.get(f"/errors/{number}").body
    assert (one["message"], one["frame"]) == ("currency", "shop/pricing.py:118 quote")
    assert (one["hour"], sum(one["hours"])) == (2, 2)
    assert [job["task_id"] for job in program.get("/jobs", error=number).body["jobs"]] == ["b", "a"]
    assert program.get("/errors", show="resolved").body["errors"] == []
    assert program.do("error.resolve", error=number).status == 202
    assert program.get("/errors", show="resolved").body["errors"][0]["resolved_by"] == "ana"
