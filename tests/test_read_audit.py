"""The audit page: who did what, found by filters, page by page, and taken along as a file."""

from __future__ import annotations

import asyncio
import csv
import io
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from django.contrib.auth.models import Group, Permission, User
from django.test import AsyncClient, Client
from django.utils import timezone

from dashboard.views import audit as pages
from jobs import audit
from jobs.audit import Deed
from jobs.models import Action, Reach
from jobs.models.people import Outcome

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 11, 21, 3, 0, tzinfo=UTC)


def member(name: str, *roles: str) -> User:
    user = User.objects.create_user(name)
    user.groups.set(Group.objects.filter(name__in=roles))
    return user


def done(target: str, **facts: Any) -> Action:
    row: dict[str, Any] = {
        "at": NOW, "who": "ana", "via": "page", "command": "queue.pause", "target_kind": "queue",
        "target": target, "queue": target, "outcome": Outcome.DONE,
    }  # fmt: skip
    return Action.objects.create(**{**row, **facts})


def shown(client: Client, question: str = "") -> list[str]:
    """The targets on the page, in their order."""
    page = client.get(f"/audit/?{question}").content.decode()
    return re.findall(
        r'<tr id="action-\d+">.*?<td>.*?<td>.*?<td>.*?<td>.*?cut cut-name" title="([^"]*)"', page, re.S
    )


def test_the_latest_is_the_first(visitor: Client) -> None:
    for name in ("high", "low"):
        done(name)
    assert shown(visitor) == ["low", "high"]


@pytest.mark.parametrize(
    ("question", "found"),
    [
        ("who=bo", ["b"]),
        ("command=queue.resume", ["c"]),
        ("kind=queue&target=d", ["d"]),
        ("kind=queue&target=d&who=bo", []),
        ("outcome=refused", ["e"]),
        ("outcome=refused&via=api", []),
        ("via=api", ["f"]),
        ("since=2026-11-22", ["g"]),
        ("until=2026-11-20", ["a"]),
        ("since=2026-11-20&until=2026-11-20", ["a"]),
        ("since=2030-01-01", []),
        ("until=2001-01-01", []),
    ],
)
def test_filters_find_what_they_say(visitor: Client, question: str, found: list[str]) -> None:
    done("a", at=NOW - timedelta(days=1))
    done("b", who="bo")
    done("c", command="queue.resume")
    done("d")
    done("e", outcome=Outcome.REFUSED, refusal="permission")
    done("f", via="api")
    done("g", at=NOW + timedelta(days=1))
    assert shown(visitor, question) == found


@pytest.mark.parametrize("question", ["", "who=ana", "outcome=done", "kind=queue"])
def test_pages_lead_through_all_of_it(visitor: Client, question: str) -> None:
    for number in range(120):
        done(f"q{number}")
    seen: list[str] = []
    place: str | None = question
    while place is not None:
        page = visitor.get(f"/audit/?{place}")
        seen += shown(visitor, place)
        place = page.context["next"]
    assert seen == [f"q{number}" for number in range(119, -1, -1)]


def test_a_page_leads_back_to_newer_ones(visitor: Client) -> None:
    for number in range(120):
        done(f"q{number}")
    older = visitor.get("/audit/").context["next"]
    oldest = visitor.get(f"/audit/?{older}").context["next"]
    newer = visitor.get(f"/audit/?{oldest}").context["previous"]
    assert shown(visitor, newer) == shown(visitor, older)


@pytest.mark.parametrize("question", ["since=yesterday", "before=x", "before=-1", "outcome=odd", "after=1e9"])
def test_a_filter_that_cannot_be_read_says_so(visitor: Client, question: str) -> None:
    assert visitor.get(f"/audit/?{question}").status_code == 400
    assert visitor.get(f"/audit/export/?{question}").status_code == 400


@pytest.mark.parametrize("address", ["/audit/", "/audit/export/", "/audit/1/"])
@pytest.mark.parametrize(("role", "status"), [("viewer", 403), ("operator", 200), ("admin", 200)])
def test_it_is_for_those_who_may_read_it(client: Client, address: str, role: str, status: int) -> None:
    action = done("high")
    client.force_login(member("bo", role))
    address = address.replace("1", str(action.pk))
    assert client.get(address).status_code == status
    assert client.post(address).status_code in (403, 405)


def test_a_reach_bounds_the_audit_but_not_what_one_did_oneself(client: Client) -> None:
    bo = member("bo", "operator")
    Reach.objects.create(user=bo, queues="low")
    done("low")
    foreign = done("high")
    mine = done("high", user=bo, who="bo")
    client.force_login(bo)
    assert shown(client) == ["high", "low"]
    assert client.get(f"/audit/{foreign.pk}/").status_code == 404
    assert client.get(f"/audit/{mine.pk}/").status_code == 200


def test_one_action_has_a_page_with_all_that_is_known(visitor: Client) -> None:
    action = done(
        "high", reason="it burns", before='{"paused":false}', after='{"paused":true}', address="192.0.2.7"
    )
    page = visitor.get(f"/audit/{action.pk}/").content.decode()
    for told in ("it burns", "192.0.2.7", "&quot;paused&quot;: true", "queue.pause"):
        assert told in page


@pytest.mark.django_db(transaction=True)
def test_who_may_not_see_what_jobs_carry_does_not_see_it_here(client: Client) -> None:
    team = Group.objects.create(name="desk")
    team.permissions.set(
        [p for p in Group.objects.get(name="operator").permissions.all() if p.codename != "view_payload"]
    )
    client.force_login(member("bo", "desk"))
    action = done("high", arguments='{"kwargs":{"card":"4711"}}')
    assert "4711" not in client.get(f"/audit/{action.pk}/").content.decode()
    assert "4711" not in exported(client)


@pytest.mark.django_db(transaction=True)
def test_what_a_job_carried_is_hidden_from_who_acted_on_it_too(client: Client) -> None:
    bo = member("bo")
    bo.user_permissions.set(Permission.objects.filter(codename__in=("view_record", "view_audit")))
    client.force_login(bo)
    told = {"arguments": '{"args":[4710]}', "before": '{"kwargs":"4711"}', "after": '{"kwargs":"4712"}'}
    action = done("high", user=bo, who="bo", **told)
    page = client.get(f"/audit/{action.pk}/").content.decode()
    assert "471" not in page
    row = next(csv.DictReader(io.StringIO(exported(client))))
    assert (row["arguments"], row["before"], row["after"]) == ("", "", "")


@pytest.mark.parametrize("day", ["0001-01-01", "9999-12-31"])
@pytest.mark.parametrize("end", ["since", "until"])
def test_an_impossible_day_is_said_to_be_so(visitor: Client, end: str, day: str) -> None:
    assert visitor.get(f"/audit/?{end}={day}").status_code == 400
    assert visitor.get(f"/audit/export/?{end}={day}").status_code == 400


def exported(client: Client, question: str = "") -> str:
    """The file, through the asynchronous path that the web server takes."""
    other = AsyncClient()
    other.cookies = client.cookies

    async def fetch() -> str:
        response: Any = await other.get(f"/audit/export/?{question}")
        parts = [part async for part in response.streaming_content]
        return b"".join(parts).decode()

    return asyncio.run(fetch())


@pytest.mark.django_db(transaction=True)
def test_the_export_has_what_the_filters_find(visitor: Client) -> None:
    done("high", who="bo")
    done("low")
    rows = list(csv.DictReader(io.StringIO(exported(visitor, "who=bo"))))
    assert [(row["who"], row["target"], row["at"]) for row in rows] == [("bo", "high", NOW.isoformat())]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("text", ["=cmd|'/c calc'!A1", "+1", "-1", "@sum", "\tx", "\rx", "  =1"])
def test_a_spreadsheet_takes_no_cell_for_a_formula(visitor: Client, text: str) -> None:
    done("high", reason=text)
    row = next(csv.DictReader(io.StringIO(exported(visitor), newline="")))
    assert row["reason"] == f"'{text}"


@pytest.mark.django_db(transaction=True)
def test_the_export_has_an_end_and_says_so(visitor: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "MOST_EXPORTED", 3)
    for number in range(3):
        done(f"q{number}")
    assert len(exported(visitor).splitlines()) == 4
    done("q3")
    lines = exported(visitor).splitlines()
    assert len(lines) == 5
    assert "The export ends here" in lines[-1]


def test_names_are_text_wherever_they_stand(visitor: Client) -> None:
    odd = '"><img src=x onerror=alert(1)>'
    action = done(odd, who=odd, reason=odd, detail=odd, arguments=f'{{"x": "{odd[2:]}"}}')
    for address in ("/audit/", f"/audit/{action.pk}/"):
        assert "<img" not in visitor.get(address).content.decode()


def test_what_is_no_command_is_written_down_settled(ops: User) -> None:
    action = audit.write_down(
        Deed("admin.change", "user", "bo\0", "admin", ops, before={"password": "x"}, after={})
    )
    assert (action.outcome, action.who, action.target) == ("done", "ops", "bo�")
    assert action.settled_at is not None
    assert action.before == '{"password":"[hidden]"}'


def test_half_a_surrogate_pair_in_an_edit_keeps_nobody_from_writing_it_down(ops: User) -> None:
    deed = Deed("admin.change", "article", "7", "admin", ops, after={"terms": {"note": "half \ud83d"}})
    assert orjson.loads(audit.write_down(deed).after or "") == {"terms": {"note": "half ?"}}


def test_the_cost_of_a_page_does_not_grow(visitor: Client, django_assert_max_num_queries: Any) -> None:
    Action.objects.bulk_create(
        Action(
            at=timezone.now(),
            who="ana",
            via="page",
            command="queue.pause",
            target_kind="queue",
            target=f"q{n}",
        )
        for n in range(3_000)
    )
    with django_assert_max_num_queries(14):
        visitor.get("/audit/?who=nobody")
    assert visitor.get("/audit/?who=nobody").context["next"], "there are older ones to look at"
