"""From the list of jobs to a bulk and its page: chosen rows or all that match, without script as well."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from jobs.models import Action, Bulk, Job, Outgoing, QueueSample, Reach
from jobs.models.bulk import BulkState
from tests.api import Program, token_of
from tests.bulks import begun, came, made, member, previewed, worked
from tests.plans import is_dear
from workers.bulk.acting import act_on_some

pytestmark = pytest.mark.django_db
NONCE = "a-nonce-of-a-form"


@pytest.fixture
def ana(client: Client) -> User:
    """An operator, who is signed in."""
    user = member("ana", "operator")
    client.force_login(user)
    return user


def text_of(client: Client, address: str, status: int = 200) -> str:
    """What a page says, without its tags."""
    response = client.get(address)
    assert response.status_code == status
    main = response.content.decode().partition("<main")[2].partition("</main>")[0]
    return " ".join(re.sub(r"<[^>]*>", " ", main).split())


def send(client: Client, address: str, **fields: Any) -> Any:
    return client.post(address, {"once": NONCE, **fields})


def test_the_list_offers_rows_and_with_a_filter_all_that_match(client: Client, ana: User) -> None:
    made(3)
    page = client.get("/jobs/").content.decode()
    assert page.count('type="checkbox" name="job"') == 3
    assert 'name="all"' not in page
    page = client.get("/jobs/?state=failed&queue=high").content.decode()
    assert "All 3 jobs that match" in page
    assert '<input type="hidden" name="state" value="failed">' in page
    assert '<input type="hidden" name="queue" value="high">' in page


def test_who_may_not_act_in_bulk_sees_why(client: Client) -> None:
    made(1)
    client.force_login(member("bo", "viewer"))
    page = client.get("/jobs/?state=failed").content.decode()
    assert page.count('type="button" aria-disabled="true" title="You lack the permission') == 2


def test_chosen_rows_lead_to_a_preview_of_them(client: Client, ana: User) -> None:
    made(5)
    response = send(client, "/bulk/", deed="retry", job=["job-1", "job-3"], state="failed")
    bulk = Bulk.objects.get()
    assert response["Location"] == f"/bulk/{bulk.pk}/"
    assert (bulk.eligible, bulk.filter, bulk.state) == (2, None, "draft")
    said = text_of(client, response["Location"])
    assert "Retry 2 jobs" in said
    assert "chosen one by one" in said


def test_all_that_match_lead_to_a_preview_of_all(client: Client, ana: User) -> None:
    made(60)
    made(2, queue="low")
    made(1, body=None)
    response = send(client, "/bulk/", deed="retry", all="1", state="failed", queue="high", job=["job-1"])
    said = text_of(client, response["Location"])
    assert "Retry 60 jobs" in said
    assert "all with state: failed , queue: high" in said
    assert "1 job can't be acted on" in said
    assert "Secrets in its arguments were hidden before storage" in said


def test_the_same_form_sent_twice_is_one_preview(client: Client, ana: User) -> None:
    made(2)
    first, second = (send(client, "/bulk/", deed="retry", job=["job-1"]) for _ in range(2))
    assert first["Location"] == second["Location"]
    assert Bulk.objects.count() == 1


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"deed": "bless", "job": ["job-0"]}, 400),
        ({"deed": "retry"}, 409),
        ({"deed": "retry", "all": "1"}, 409),
        ({"deed": "retry", "all": "1", "queue": "q" * 256}, 400),
        ({"deed": "retry", "all": "1", "task": "\0"}, 400),
        ({"deed": "retry", "job": ["job-0"], "once": ""}, 400),
    ],
)
def test_what_makes_no_sense_is_answered_clearly(
    client: Client, ana: User, fields: dict[str, Any], status: int
) -> None:
    made(1)
    assert send(client, "/bulk/", **fields).status_code == status
    assert not Bulk.objects.exists()


def test_a_preview_tells_what_it_means_for_the_backlog(client: Client, ana: User) -> None:
    made(4)
    QueueSample.objects.create(queue="high", at=timezone.now(), depth=1204)
    bulk = previewed(ana, state="failed")
    said = text_of(client, f"/bulk/{bulk.pk}/")
    assert re.search(r"high 1,204 \+4 0 for ever: nothing starts", said), said
    assert "50 a second: 80 ms" in said


def test_a_large_set_is_confirmed_by_its_number(client: Client, ana: User) -> None:
    made(101)
    bulk = previewed(ana, state="failed")
    page = client.get(f"/bulk/{bulk.pk}/").content.decode()
    assert "Type 101 to confirm" in page
    start = partial(send, client, f"/bulk/{bulk.pk}/start/", rate="500", stop_share="0.5", reason="again")
    assert start(confirm="100").status_code == 409
    assert start(confirm="ten").status_code == 400
    assert Bulk.objects.get().state == BulkState.DRAFT
    assert start(confirm="101", once="another-nonce").status_code == 302
    assert Bulk.objects.get().state == BulkState.RUNNING


def test_a_small_set_needs_no_number(client: Client, ana: User) -> None:
    made(2)
    bulk = previewed(ana, state="failed")
    assert "to confirm" not in client.get(f"/bulk/{bulk.pk}/").content.decode()
    assert send(client, f"/bulk/{bulk.pk}/start/", rate="5").status_code == 302
    action = Action.objects.get(command="bulk.start")
    assert (action.via, action.target, action.count) == ("page", str(bulk.pk), 2)


def test_a_click_too_many_begins_nothing_twice(client: Client, ana: User) -> None:
    made(3)
    bulk = previewed(ana, state="failed")
    answers = [send(client, f"/bulk/{bulk.pk}/start/", rate="500").status_code for _ in range(2)]
    assert answers == [302, 302]
    assert send(client, f"/bulk/{bulk.pk}/start/", rate="500", once="another-nonce").status_code == 409
    worked(bulk)
    assert bulk.items.filter(outcome="done").count() == 3


def test_nothing_to_do_is_said(client: Client, ana: User) -> None:
    made(2, body=None)
    assert "None of these jobs qualifies" in text_of(client, f"/bulk/{previewed(ana, state='failed').pk}/")
    assert "No job matches." in text_of(client, f"/bulk/{previewed(ana, state='queued').pk}/")


def test_the_page_of_a_bulk_shows_how_far_it_is(client: Client, ana: User) -> None:
    made(60)
    bulk = begun(ana, state="failed")
    act_on_some(bulk.pk, 20)
    said = text_of(client, f"/bulk/{bulk.pk}/")
    assert "20 of 60 retried , 40 left" in said
    assert "At 500 a second it takes 80 ms more." in said
    assert "20 messages are asked for, and not with the broker yet." in said
    assert "the partner is back" in said


def test_it_is_paused_resumed_and_aborted_on_its_page(client: Client, ana: User) -> None:
    made(60)
    bulk = begun(ana, state="failed")
    for number, (verb, state) in enumerate(
        (("pause", "paused"), ("resume", "running"), ("abort", "aborted"))
    ):
        assert f"/bulk/{bulk.pk}/{verb}/" in client.get(f"/bulk/{bulk.pk}/").content.decode()
        answer = send(client, f"/bulk/{bulk.pk}/{verb}/", once=f"nonce-number-{number}")
        assert answer.status_code == 302
        bulk.refresh_from_db()
        assert bulk.state == state
    assert "Ended by ana." in text_of(client, f"/bulk/{bulk.pk}/")
    assert f"/bulk/{bulk.pk}/resume/" not in client.get(f"/bulk/{bulk.pk}/").content.decode()


def test_failures_are_listed_with_their_reasons(client: Client, ana: User) -> None:
    jobs = made(3)
    bulk = begun(ana, state="failed")
    Job.objects.filter(pk=jobs[0].pk).update(state="running")
    bulk = worked(bulk)
    came(bulk, failed=1, succeeded=1)
    Job.objects.filter(state="failed").exclude(pk__lte=jobs[-1].pk).update(exception="KeyError: '<b>'")
    page = client.get(f"/bulk/{bulk.pk}/").content.decode()
    assert "KeyError: &#x27;&lt;b&gt;&#x27;" in page
    assert "The job has not ended" in client.get(f"/bulk/{bulk.pk}/?show=refused").content.decode()
    assert client.get(f"/bulk/{bulk.pk}/?show=nonsense").status_code == 200


def test_exceptions_are_hidden_from_who_may_not_read_what_jobs_carry(client: Client, ana: User) -> None:
    group = ana.groups.get()
    jobs = made(2, exception="KeyError: 'secret'")
    bulk = begun(ana, state="failed")
    worked(bulk)
    came(bulk, failed=2, succeeded=0)
    Job.objects.exclude(pk__in=[job.pk for job in jobs]).update(exception="KeyError: 'secret'")
    group.permissions.remove(*group.permissions.filter(codename="view_payload"))
    page = client.get(f"/bulk/{bulk.pk}/").content.decode()
    assert "KeyError" in page
    assert "secret" not in page


def test_long_lists_have_pages(client: Client, ana: User) -> None:
    made(60)
    bulk = begun(ana, state="failed")
    page = client.get(f"/bulk/{bulk.pk}/?show=left").content.decode()
    [further] = re.findall(r'href="(\?show=left&amp;after=\d+)"', page)
    shown = re.findall(r'href="/jobs/(job-\d+)/"', page)
    rest = re.findall(
        r'href="/jobs/(job-\d+)/"',
        client.get(f"/bulk/{bulk.pk}/{further.replace('&amp;', '&')}").content.decode(),
    )
    assert shown + rest == [f"job-{number}" for number in range(60)]


def test_the_list_of_bulks_has_those_that_one_may_see(client: Client, ana: User) -> None:
    made(2)
    begun(ana, state="failed")
    begun(member("bo", "operator"), jobs=("job-0",))
    previewed(member("cy", "operator"), state="failed")
    said = text_of(client, "/bulk/")
    assert "Retry 2 jobs all with state: failed" in said
    assert "Retry 1 job chosen one by one" in said
    assert Bulk.objects.count() == 3
    assert said.count("Retry ") == 2


def test_a_bulk_of_somebody_else_that_one_may_not_see_is_not_there(client: Client, ana: User) -> None:
    made(1)
    bulk = previewed(member("bo", "operator"), state="failed")
    assert client.get(f"/bulk/{bulk.pk}/").status_code == 404
    assert send(client, f"/bulk/{bulk.pk}/start/", rate="5").status_code == 404
    assert client.get(f"/bulk/{10**30}/").status_code == 404
    assert send(client, f"/bulk/{10**30}/abort/", once="another-nonce").status_code == 404


@pytest.mark.parametrize("verb", ["start", "pause", "resume", "abort"])
def test_a_look_changes_nothing(client: Client, ana: User, verb: str) -> None:
    made(1)
    bulk = previewed(ana, state="failed")
    assert client.get(f"/bulk/{bulk.pk}/{verb}/").status_code == 405
    assert not Outgoing.objects.exists()


def test_a_page_of_a_large_bulk_costs_the_same(
    client: Client, ana: User, django_assert_max_num_queries: Callable[[int], Any]
) -> None:
    made(150)
    bulk = begun(ana, state="failed")
    act_on_some(bulk.pk, 100)
    with django_assert_max_num_queries(30):
        client.get(f"/bulk/{bulk.pk}/")


def test_pages_of_bulks_are_read_flatly(client: Client, ana: User) -> None:
    made(60)
    bulk = begun(ana, state="failed")
    act_on_some(bulk.pk, 20)
    draft = previewed(ana, state="failed")
    shown = ("", f"{bulk.pk}/", f"{bulk.pk}/?show=left", f"{bulk.pk}/?show=refused", f"{draft.pk}/")
    with CaptureQueriesContext(connection) as captured:
        for path in (f"/bulk/{place}" for place in shown):
            assert client.get(path).status_code == 200
    about_bulks = [sql for query in captured.captured_queries if "_bulk" in (sql := query["sql"])]
    assert about_bulks
    assert [sql for sql in about_bulks if is_dear(sql)] == []


def test_who_may_not_act_sees_why_at_a_bulk_at_work(client: Client, ana: User) -> None:
    made(2)
    bulk = begun(ana, state="failed")
    client.force_login(member("bo", "viewer"))
    for state in (BulkState.RUNNING, BulkState.PAUSED):
        Bulk.objects.update(state=state)
        page = client.get(f"/bulk/{bulk.pk}/").content.decode()
        assert f'action="/bulk/{bulk.pk}/' not in page
        assert page.count('type="button" aria-disabled="true" title="You lack the permission') == 2


def test_ones_own_bulk_shows_what_one_reaches_now(client: Client, ana: User) -> None:
    made(1)
    made(1, task="bank.pay", queue="bank")
    draft, bulk = previewed(ana, state="failed"), worked(begun(ana, state="failed"))
    Reach.objects.create(user=ana, queues="high", tasks="shop.*")
    one = Program(token_of(ana)[0])
    seen = text_of(client, f"/bulk/{draft.pk}/") + text_of(client, f"/bulk/{bulk.pk}/?show=waiting")
    told = str(one.get(f"/bulks/{bulk.pk}").body) + str(one.get(f"/bulks/{bulk.pk}/items").body)
    for text in (seen, told):
        assert "shop.pay" in text
        assert "job-0" in text
        assert "bank" not in text
        assert "job-1" not in text


@pytest.mark.parametrize(
    ("address", "fields", "back"),
    [
        ("/bulk/{}/start/", {"rate": "50", "confirm": "1,000"}, "/bulk/{}/"),
        ("/bulk/{}/start/", {"rate": "fast"}, "/bulk/{}/"),
        ("/bulk/", {"deed": "bless"}, "/jobs/"),
    ],
)
def test_a_form_that_is_not_as_it_should_be_has_a_way_back(
    client: Client, ana: User, address: str, fields: dict[str, str], back: str
) -> None:
    made(1)
    bulk = previewed(ana, state="failed")
    answer = send(client, address.format(bulk.pk), **fields)
    assert answer.status_code == 400
    assert f'<a class="button" href="{back.format(bulk.pk)}">Back</a>' in answer.content.decode()
