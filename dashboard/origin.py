"""Websockets are opened by our own pages alone: same scheme, same host, same port.

Browsers send cookies with a websocket to any site, and CSRF tokens don't
exist there, so the Origin header is the guard. (Channels' own validator
doesn't compare the port.)
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.http.request import split_domain_port, validate_host

Application = Callable[[dict[str, Any], Any, Any], Awaitable[None]]
PORTS = {"http": 80, "https": 443}
LOCAL_HOSTS = [".localhost", "127.0.0.1", "[::1]"]


def same_origin_only(application: Application) -> Application:
    """Refuses, before it is accepted, a websocket that another site's page has opened."""

    async def guarded(scope: dict[str, Any], receive: Any, send: Any) -> None:
        if is_allowed(_header(scope, b"origin"), _header(scope, b"host"), scope.get("scheme", "ws")):
            await application(scope, receive, send)
        else:
            await receive()
            await send({"type": "websocket.close", "code": 4403})

    return guarded


def is_allowed(origin: str | None, host: str | None, scheme: str) -> bool:
    """Whether a page of `origin` may open a websocket to `host` over `scheme` ("ws" or "wss")."""
    asked = _origin(origin or "")
    if asked is None or host is None:
        return False
    if any(
        asked == _origin(trusted) or _is_below(asked, trusted) for trusted in settings.CSRF_TRUSTED_ORIGINS
    ):
        return True
    secure = settings.HTTPS or scheme in ("wss", "https")
    return _is_ours(host) and asked == _origin(f"{'https' if secure else 'http'}://{host}")


def _is_ours(host: str) -> bool:
    hosts = settings.ALLOWED_HOSTS or (LOCAL_HOSTS if settings.DEBUG else [])
    return validate_host(split_domain_port(host)[0], hosts)


def _is_below(asked: tuple[str, str, int], trusted: str) -> bool:
    """Whether it is a subdomain of a trusted `https://*.example.com`."""
    parent = _origin(trusted.replace("://*.", "://", 1)) if "://*." in trusted else None
    return (
        parent is not None
        and asked[1].endswith(f".{parent[1]}")
        and (asked[0], asked[2]) == (parent[0], parent[2])
    )


def _origin(text: str) -> tuple[str, str, int] | None:
    """Scheme, host and port; None unless it is exactly an origin."""
    try:
        url = urlsplit(text)
        port = url.port
    except ValueError:
        return None
    if (
        url.scheme not in PORTS
        or not url.hostname
        or url.path
        or url.query
        or url.fragment
        or "@" in url.netloc
    ):
        return None
    return url.scheme, url.hostname, port if port is not None else PORTS[url.scheme]


def _header(scope: dict[str, Any], name: bytes) -> str | None:
    """A header that is there exactly once."""
    values = [value for key, value in scope["headers"] if key == name]
    return values[0].decode("latin-1") if len(values) == 1 else None
