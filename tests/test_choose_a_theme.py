"""Light, dark, or as the system has it: chosen for a browser, with script and without."""

from __future__ import annotations

import pytest
from django.test import Client

from dashboard import themes

pytestmark = pytest.mark.django_db


@pytest.fixture
def visitor(client: Client, admin_user: object) -> Client:
    client.force_login(admin_user)  # type: ignore[arg-type]
    return client


def page(visitor: Client) -> str:
    return visitor.get("/jobs/").content.decode()


def test_the_system_decides_until_somebody_chooses(visitor: Client) -> None:
    assert "data-theme" not in page(visitor)


@pytest.mark.parametrize("theme", themes.THEMES)
def test_a_chosen_theme_is_on_every_page_from_its_first_paint(visitor: Client, theme: str) -> None:
    response = visitor.post("/theme/", {"theme": theme, "next": "/jobs/?state=failed"})
    assert (response.status_code, response["Location"]) == (302, "/jobs/?state=failed")
    said = page(visitor)
    assert f'data-theme="{theme}">' in said.partition("<head>")[0]
    assert f'value="{theme}" aria-pressed="true"' in said
    assert f'data-theme="{theme}"' in visitor.get("/nowhere/").content.decode()


def test_a_choice_is_given_back_to_the_system(visitor: Client) -> None:
    visitor.post("/theme/", {"theme": "dark"})
    visitor.post("/theme/", {"theme": ""})
    assert "data-theme" not in page(visitor)


def test_the_page_that_says_that_something_broke_has_it_too(
    visitor: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    visitor.post("/theme/", {"theme": "dark"})
    visitor.raise_request_exception = False
    monkeypatch.setattr("dashboard.context.access.has", lambda *_: 1 / 0)
    response = visitor.get("/jobs/")
    assert response.status_code == 500
    assert 'data-theme="dark"' in response.content.decode()
    assert "Something broke here" in response.content.decode()


@pytest.mark.parametrize("name", ["sepia", '"><script>', "x" * 9_000])
def test_a_theme_that_is_none_is_refused_in_a_line_and_as_a_cookie_is_as_none(
    visitor: Client, name: str
) -> None:
    response = visitor.post("/theme/", {"theme": name})
    assert (response.status_code, response.content) == (400, b"There is no such theme.")
    assert themes.COOKIE not in response.cookies
    visitor.cookies[themes.COOKIE] = name
    assert "data-theme" not in page(visitor)
