"""Without a session or a token there is nothing but sign-in, static files and the two health addresses."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from django.conf import LazySettings
from django.contrib.auth.models import User
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver
from django.urls.resolvers import RegexPattern

OPEN = {"/sign-in/", "/healthz", "/readyz"}
# Read by programs, which can't sign in.
BY_TOKEN = {"/metrics"}


def addresses(resolver: URLResolver, before: str = "/") -> Iterator[str]:
    """Each address that the site knows, with something in place of its parts."""
    for entry in resolver.url_patterns:
        if isinstance(entry, URLResolver):
            yield from addresses(entry, before + _filled(entry))
        else:
            yield before + _filled(entry)


def _filled(entry: URLPattern | URLResolver) -> str:
    """A path that the entry matches; the admin's two regular expressions are written out."""
    text = str(entry.pattern)
    if isinstance(entry.pattern, RegexPattern):
        return {"(?P<url>.*)$": "any/thing/"}.get(text, "auth/")
    return re.sub(r"<(?:\w+:)?\w+>", "1", text)


ADDRESSES = sorted(
    address for address in addresses(get_resolver()) if "^" not in address and "(?P" not in address
)

PROGRAMS = "/api/"
PAGES = [address for address in ADDRESSES if not address.startswith(PROGRAMS)]


def test_the_list_of_addresses_is_not_empty() -> None:
    assert {"/", "/jobs/", "/jobs/1/", "/jobs/~1/", "/schedules/", "/live/", "/admin/"} <= set(ADDRESSES)
    assert len(ADDRESSES) > 40, "the admin's own are among them"


@pytest.mark.django_db
@pytest.mark.parametrize("method", ["get", "post", "put", "delete"])
@pytest.mark.parametrize("address", [one for one in PAGES if one not in OPEN | BY_TOKEN])
def test_a_stranger_is_sent_to_sign_in(client: Client, address: str, method: str) -> None:
    response = getattr(client, method)(address)
    if response.status_code == 405:
        assert response.content == b""
        return
    assert response.status_code == 302
    assert response["Location"].split("?")[0] in {"/sign-in/", "/admin/login/"}
    assert response.content == b""


@pytest.mark.django_db
@pytest.mark.parametrize("method", ["get", "post", "put", "delete"])
@pytest.mark.parametrize("address", [one for one in ADDRESSES if one.startswith(PROGRAMS)])
def test_a_program_without_a_token_is_told_so(client: Client, address: str, method: str) -> None:
    response = getattr(client, method)(address, content_type="application/json")
    assert response.status_code in (401, 404, 405)
    assert response["Content-Type"] == "application/problem+json"
    assert "Location" not in response


@pytest.mark.django_db
@pytest.mark.parametrize("address", sorted(BY_TOKEN))
def test_who_brings_no_token_is_told_so(client: Client, address: str) -> None:
    assert client.get(address).status_code == 401
    for method in ("post", "put", "delete"):
        response = getattr(client, method)(address)
        assert (response.status_code, response.content) == (405, b"")


@pytest.mark.django_db
def test_a_stranger_learns_nothing_from_an_address_that_does_not_exist(client: Client) -> None:
    response = client.get("/jobs/no/such/page/")
    assert response.status_code == 404
    assert b"celery" not in response.content.lower()


@pytest.mark.django_db
def test_the_admin_has_no_sign_in_of_its_own(client: Client) -> None:
    response = client.get("/admin/login/?next=/admin/auth/")
    assert (response.status_code, response["Location"]) == (302, "/sign-in/?next=/admin/auth/")


def test_who_may_not_enter_the_admin_is_told_so_and_not_sent_around(client: Client, db: None) -> None:
    client.force_login(User.objects.create_user("viewer"))
    assert client.get("/admin/", follow=True).status_code == 403


def test_a_closed_account_is_a_stranger(client: Client, ops: User) -> None:
    client.force_login(ops)
    ops.is_active = False
    ops.save()
    assert client.get("/").status_code == 302


@pytest.mark.parametrize("address", ["https://evil.example/", "//evil.example/", "javascript:alert(1)"])
def test_signing_in_leads_to_no_other_site(client: Client, ops: User, address: str) -> None:
    form = {"username": "ops", "password": "a long night at the desk", "next": address}
    assert client.post("/sign-in/", form)["Location"] == "/"


def test_signing_in_leads_where_one_was_going(client: Client, ops: User) -> None:
    form = {"username": "ops", "password": "a long night at the desk", "next": "/jobs/?state=failed"}
    assert client.post("/sign-in/", form)["Location"] == "/jobs/?state=failed"


def test_signing_out_needs_a_press_of_the_button(client: Client, ops: User) -> None:
    client.force_login(ops)
    assert client.get("/sign-out/").status_code == 405
    assert client.get("/").status_code == 200
    assert client.post("/sign-out/")["Location"] == "/sign-in/"
    assert client.get("/").status_code == 302


def test_who_is_signed_out_already_may_sign_out(client: Client, db: None) -> None:
    assert client.post("/sign-out/")["Location"] == "/sign-in/"


@pytest.mark.parametrize("address", ["/sign-in/", "/sign-out/"])
def test_a_form_of_another_site_is_refused(ops: User, address: str) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(ops)
    assert (
        client.post(address, {"username": "ops", "password": "a long night at the desk"}).status_code == 403
    )


@pytest.mark.parametrize("address", ["/", "/jobs/", "/schedules/", "/sign-in/", "/nowhere/"])
def test_no_page_allows_inline_script_or_style(client: Client, ops: User, address: str) -> None:
    if address != "/sign-in/":
        client.force_login(ops)
    policy = client.get(address)["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


def test_behind_https_cookies_travel_over_https_alone(
    settings: LazySettings, client: Client, ops: User
) -> None:
    settings.SESSION_COOKIE_SECURE = True
    client.post("/sign-in/", {"username": "ops", "password": "a long night at the desk"})
    cookie = client.cookies[settings.SESSION_COOKIE_NAME]
    assert cookie["secure"]
    assert cookie["httponly"]
