"""From a form to the one door and back: what a page does with a command, whatever the command is."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import pytest
from django.contrib.auth.models import Group, User
from django.contrib.messages import get_messages
from django.contrib.messages.middleware import MessageMiddleware
from django.contrib.sessions.middleware import SessionMiddleware
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory
from django_htmx.middleware import HtmxMiddleware

from dashboard.acting import act
from jobs.models import Action, Heartbeat
from jobs.models.people import Outcome
from jobs.perform import Refused, Settled, Subject

pytestmark = pytest.mark.django_db
NONCE = "a-nonce-of-a-form"


@dataclasses.dataclass(frozen=True)
class Ring:
    """Its effect is a row."""

    name: ClassVar[str] = "test.ring"
    permission: ClassVar[str] = "retry_job"
    bell: str

    def subject(self, user: User) -> Subject:
        if self.bell == "none":
            raise Refused("missing", "There is no such bell.")
        return Subject("queue", self.bell, task="shop.ring", queue=self.bell)

    def execute(self, action: Action) -> Settled:
        if self.bell == "broken":
            raise Refused("broken", "The bell is broken.")
        Heartbeat.objects.create(name=self.bell, at=action.at, host="h", pid=1)
        return Settled(Outcome.FAILED if self.bell == "silent" else Outcome.ASKED)


def member(*roles: str) -> User:
    user = User.objects.create_user("ana")
    user.groups.set(Group.objects.filter(name__in=roles))
    return user


def asked(user: User, form: dict[str, str], method: str = "post", **headers: str) -> HttpRequest:
    request: HttpRequest = getattr(RequestFactory(REMOTE_ADDR="192.0.2.7"), method)("/ring/", form, **headers)
    request.user = user

    def nothing(_: HttpRequest) -> HttpResponse:
        return HttpResponse()

    for middleware in (SessionMiddleware, MessageMiddleware, HtmxMiddleware):
        middleware(nothing)(request)
    return request


def said(request: HttpRequest) -> list[tuple[str, str]]:
    return [(message.level_tag, str(message)) for message in get_messages(request)]


def test_a_form_leads_back_with_what_came_of_it() -> None:
    request = asked(member("operator"), {"once": NONCE, "reason": "too quiet"})
    response = act(request, Ring("high"), "/queues/")
    assert (response.status_code, response["Location"]) == (302, "/queues/")
    assert said(request) == [("success", "Asked, not yet confirmed: test.ring on high.")]
    action = Action.objects.get()
    assert (action.via, action.address, action.reason) == ("page", "192.0.2.7", "too quiet")


def test_a_form_that_is_sent_twice_is_one_action() -> None:
    ana = member("operator")
    for _ in range(2):
        assert act(asked(ana, {"once": NONCE}), Ring("high"), "/").status_code == 302
    assert (Action.objects.count(), Heartbeat.objects.count()) == (1, 1)


@pytest.mark.parametrize("form", [{}, {"once": "short"}, {"once": "x" * 65}, {"once": "<script>alert(1)"}])
def test_a_form_without_its_nonce_does_nothing(form: dict[str, str]) -> None:
    assert act(asked(member("operator"), form), Ring("high"), "/").status_code == 400
    assert (Action.objects.count(), Heartbeat.objects.count()) == (0, 0)


@pytest.mark.parametrize("method", ["get", "head"])
def test_only_a_post_acts(method: str) -> None:
    request = asked(member("operator"), {"once": NONCE}, method)
    assert act(request, Ring("high"), "/").status_code == 405
    assert Action.objects.count() == 0


@pytest.mark.parametrize(
    ("role", "bell", "status", "why"),
    [
        ("viewer", "high", 403, "You lack the permission"),
        ("operator", "none", 404, "There is no such bell."),
        ("operator", "broken", 409, "The bell is broken."),
    ],
)
def test_a_refusal_says_what_was_not_done_and_why(role: str, bell: str, status: int, why: str) -> None:
    response = act(asked(member(role), {"once": NONCE}), Ring(bell), "/queues/")
    assert response.status_code == status
    page = response.content.decode()
    assert "Nothing was changed" in page
    assert why in page
    assert 'href="/queues/"' in page
    assert Action.objects.get().outcome == Outcome.REFUSED


def test_a_key_of_another_command_is_refused() -> None:
    ana = member("operator")
    act(asked(ana, {"once": NONCE}), Ring("high"), "/")
    assert act(asked(ana, {"once": NONCE}), Ring("low"), "/").status_code == 409


def test_what_failed_at_once_is_told_as_a_failure() -> None:
    request = asked(member("operator"), {"once": NONCE})
    act(request, Ring("silent"), "/")
    assert said(request) == [("error", "Failed: test.ring on silent.")]


@pytest.mark.parametrize(("bell", "status"), [("high", 200), ("broken", 409)])
def test_htmx_is_led_on_with_the_same_words(bell: str, status: int) -> None:
    request = asked(member("operator"), {"once": NONCE}, headers={"HX-Request": "true"})  # type: ignore[arg-type]
    response = act(request, Ring(bell), "/queues/", said="The bell rings.")
    assert (response.status_code, response["HX-Redirect"]) == (status, "/queues/")
    expected = {"high": ("success", "The bell rings."), "broken": ("error", "The bell is broken.")}
    assert said(request)[0][0] == expected[bell][0]
    assert expected[bell][1] in said(request)[0][1]


@pytest.mark.parametrize(
    ("claimed", "address"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("fe80::1%eth0", "fe80::1"),
        ("", None),
        ("unix", None),
    ],
)
def test_the_audit_has_the_address_if_it_is_one(claimed: str, address: str | None) -> None:
    request = asked(member("operator"), {"once": NONCE})
    request.META["REMOTE_ADDR"] = claimed
    act(request, Ring("high"), "/")
    assert Action.objects.get().address == address
