"""Signing in: an end to trying, the same words for everybody, and a line in the audit."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.http import HttpResponse
from django.test import Client
from django.utils import timezone

from dashboard import throttle
from dashboard.models import SignInTries
from jobs.models import Action
from jobs.models.people import Outcome

pytestmark = pytest.mark.django_db
PASSWORD = "a long night at the desk"
SAID = "That user and password do not match."


def signs_in(client: Client, name: str = "ops", password: str = "wrong", address: str = "192.0.2.7") -> Any:
    form = {"username": name, "password": password}
    return client.post("/sign-in/", form, REMOTE_ADDR=address)


def tries(client: Client, count: int, **of: str) -> list[int]:
    return [signs_in(client, **of).status_code for _ in range(count)]


def test_after_five_tries_an_account_is_asked_to_wait(client: Client, ops: User) -> None:
    assert tries(client, 6) == [200] * 5 + [429]
    response: HttpResponse = signs_in(client, password=PASSWORD)
    assert response.status_code == 429, "the right password does not help now"
    assert 0 < int(response["Retry-After"]) <= 900
    assert "Wait 15 minutes" in response.content.decode()


def test_the_account_is_not_locked_for_others(client: Client, ops: User) -> None:
    tries(client, 8)
    assert signs_in(client, password=PASSWORD, address="192.0.2.8").status_code == 302


def test_an_address_that_tries_many_names_is_asked_to_wait(client: Client, ops: User) -> None:
    codes = [signs_in(client, name=f"guess-{n}").status_code for n in range(31)]
    assert codes == [200] * 30 + [429]


def test_a_network_of_ipv6_is_one_address(client: Client, ops: User) -> None:
    codes = [
        signs_in(client, name=f"guess-{n}", address=f"2001:db8:0:1::{n:x}").status_code for n in range(31)
    ]
    assert codes == [200] * 30 + [429]
    assert signs_in(client, name="guess-31", address="2001:db8:0:2::1").status_code == 200


def test_who_signs_in_is_forgiven(client: Client, ops: User) -> None:
    for _ in range(4):
        assert tries(client, 4) == [200] * 4
        assert signs_in(client, password=PASSWORD).status_code == 302
        client.logout()


def test_after_a_quarter_of_an_hour_tries_count_anew(client: Client, ops: User) -> None:
    tries(client, 6)
    SignInTries.objects.update(until=timezone.now() - timedelta(seconds=1))
    assert signs_in(client, password=PASSWORD).status_code == 302
    assert not SignInTries.objects.filter(until__lte=timezone.now()).exists()


def test_a_name_without_an_account_is_answered_alike(client: Client, ops: User) -> None:
    known, unknown = signs_in(client).content.decode(), signs_in(client, name="nobody").content.decode()
    assert SAID in known
    assert SAID in unknown
    assert tries(client, 6, name="nobody")[-1] == 429


def test_capitals_make_no_other_account_of_it(client: Client, ops: User) -> None:
    assert [signs_in(client, name=name).status_code for name in ("ops", "OPS", "Ops", "oPs", "opS", "OPs")][
        -1
    ] == 429


def test_signing_in_and_failing_to_are_in_the_audit(client: Client, ops: User) -> None:
    signs_in(client)
    signs_in(client, password=PASSWORD)
    failed, done = Action.objects.order_by("pk")
    assert (failed.who, failed.user, failed.outcome, failed.refusal) == (
        "ops",
        None,
        "refused",
        "credentials",
    )
    assert (done.who, done.user, done.outcome, done.address) == ("ops", ops, "done", "192.0.2.7")


def test_what_may_be_a_password_in_the_wrong_field_is_not_kept(client: Client, ops: User) -> None:
    signs_in(client, name=PASSWORD)
    assert Action.objects.get().who == "?"
    assert PASSWORD not in str(list(Action.objects.values())) + str(list(SignInTries.objects.values()))


def test_being_asked_to_wait_is_written_down_once(client: Client, ops: User) -> None:
    tries(client, 20)
    assert Action.objects.filter(refusal="throttled").count() == 1
    assert Action.objects.count() == 6


def test_signing_out_is_written_down(client: Client, ops: User) -> None:
    client.force_login(ops)
    client.post("/sign-out/", REMOTE_ADDR="192.0.2.7")
    client.post("/sign-out/", REMOTE_ADDR="192.0.2.7")  # nobody is signed in any more
    action = Action.objects.get()
    told = (action.command, action.who, action.user, action.address, action.outcome)
    assert told == ("account.sign-out", "ops", ops, "192.0.2.7", Outcome.DONE)


@pytest.mark.parametrize("name", ["", "\0", "x" * 10_000, "\ud800", "<script>"])
def test_no_name_is_too_odd(client: Client, ops: User, name: str) -> None:
    assert signs_in(client, name=name.encode("utf-8", "replace").decode()).status_code == 200


def test_tries_count_before_the_password_is_looked_at(ops: User) -> None:
    now = timezone.now()
    assert [throttle.count_try("ops", "192.0.2.7", now) is None for _ in range(6)] == [True] * 5 + [False]


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_a_form_of_another_site_is_refused_and_written_down(ops: User, site: str) -> None:
    client = Client(headers={"Sec-Fetch-Site": site, "Origin": "http://evil.example"})
    client.force_login(ops)
    assert client.post("/sign-out/").status_code == 403
    assert client.get("/jobs/").status_code == 200, "it is signed in still, and may look"
    action = Action.objects.get()
    assert (action.who, action.target, action.refusal) == ("ops", "/sign-out/", "cross_site")


@pytest.mark.parametrize("site", ["same-origin", "none"])
def test_a_form_of_our_own_is_not(ops: User, site: str) -> None:
    client = Client(headers={"Sec-Fetch-Site": site, "Origin": "http://testserver"})
    client.force_login(ops)
    assert client.post("/sign-out/").status_code == 302


def test_a_form_of_a_trusted_origin_is_not(ops: User, settings: Any) -> None:
    settings.CSRF_TRUSTED_ORIGINS = ["http://wall.example"]
    client = Client(headers={"Sec-Fetch-Site": "same-site", "Origin": "http://wall.example"})
    client.force_login(ops)
    assert client.post("/sign-out/").status_code == 302


def test_a_form_without_its_token_is_refused_and_written_down(ops: User) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(ops)
    assert client.post("/sign-out/").status_code == 403
    assert Action.objects.get().refusal == "cross_site"
