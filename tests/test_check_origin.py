"""Which pages may open a websocket."""

from __future__ import annotations

import pytest
from django.conf import LazySettings

from dashboard.origin import is_allowed


@pytest.fixture(autouse=True)
def hosts(settings: LazySettings) -> None:
    settings.ALLOWED_HOSTS = ["desk.example", "127.0.0.1", "[::1]"]
    settings.CSRF_TRUSTED_ORIGINS = ["https://wall.example:8443", "https://*.partner.example"]


@pytest.mark.parametrize(
    ("origin", "host", "scheme"),
    [
        ("http://desk.example", "desk.example", "ws"),
        ("http://desk.example", "desk.example:80", "ws"),
        ("https://desk.example", "desk.example", "wss"),
        ("https://desk.example", "desk.example:443", "wss"),
        ("http://127.0.0.1:8000", "127.0.0.1:8000", "ws"),
        ("http://[::1]:8000", "[::1]:8000", "ws"),
        ("http://DESK.example", "desk.example", "ws"),
        ("https://wall.example:8443", "desk.example", "ws"),
        ("https://a.partner.example", "desk.example", "wss"),
    ],
)
def test_our_own_pages_may(origin: str, host: str, scheme: str) -> None:
    assert is_allowed(origin, host, scheme)


@pytest.mark.parametrize(
    ("origin", "host", "scheme"),
    [
        (None, "desk.example", "ws"),
        ("", "desk.example", "ws"),
        ("null", "desk.example", "ws"),
        ("http://desk.example:8001", "desk.example:8000", "ws"),
        ("http://desk.example", "desk.example:8000", "ws"),
        ("http://desk.example", "desk.example", "wss"),
        ("https://desk.example", "desk.example", "ws"),
        ("http://evil.example", "desk.example", "ws"),
        ("http://evil.example", "evil.example", "ws"),
        ("http://desk.example.evil.example", "desk.example", "ws"),
        ("http://desk.example@evil.example", "desk.example", "ws"),
        ("http://desk.example/", "desk.example", "ws"),
        ("http://desk.example?", "evil.example", "ws"),
        ("http://desk.example:x", "desk.example", "ws"),
        ("ftp://desk.example", "desk.example", "ws"),
        ("http://desk.example", None, "ws"),
        ("https://wall.example", "desk.example", "wss"),
        ("http://a.partner.example", "desk.example", "ws"),
        ("https://partner.example", "desk.example", "wss"),
        ("https://evilpartner.example", "desk.example", "wss"),
    ],
)
def test_no_other_page_may(origin: str | None, host: str | None, scheme: str) -> None:
    assert not is_allowed(origin, host, scheme)


def test_allowing_every_host_allows_no_other_origin(settings: LazySettings) -> None:
    settings.ALLOWED_HOSTS = ["*"]
    assert is_allowed("http://anything.example:81", "anything.example:81", "ws")
    assert not is_allowed("http://evil.example:81", "anything.example:81", "ws")


def test_behind_https_only_https_pages_may(settings: LazySettings) -> None:
    settings.HTTPS = True
    assert is_allowed("https://desk.example", "desk.example", "ws")
    assert not is_allowed("http://desk.example", "desk.example", "ws")
