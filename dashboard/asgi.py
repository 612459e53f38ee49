"""What the web server serves: pages over HTTP, frames over websocket."""

from __future__ import annotations

import os
from typing import Any

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "dashboard.settings")
# Django must be set up before anything is imported that touches its models.
http = get_asgi_application()

from channels.auth import AuthMiddlewareStack  # noqa: E402
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from django.conf import settings  # noqa: E402
from django.db import connections  # noqa: E402
from django.urls import path, re_path  # noqa: E402

from dashboard.consumers import LiveConsumer, refuse, the_hub  # noqa: E402
from dashboard.hub import Hub  # noqa: E402
from dashboard.origin import same_origin_only  # noqa: E402
from jobs.store import sessions  # noqa: E402

# Seconds that a request waits for a connection.
POOL_PATIENCE = 5.0


def share_few_connections() -> None:
    """Each request runs on a thread of its own here, so that a connection kept open is one leaked.

    On PostgreSQL, where connections are dear, all threads take theirs from one pool.
    """
    for alias in connections:
        database = connections.settings[alias]
        database["CONN_MAX_AGE"] = 0
        if settings.WEB_CONNECTIONS and database["ENGINE"].endswith("postgresql"):
            database["OPTIONS"]["pool"] = {
                "min_size": 1,
                "max_size": settings.WEB_CONNECTIONS,
                "timeout": POOL_PATIENCE,
                # It tries ever more seldom; after so long it gives up, and starts anew with the next request.
                "reconnect_timeout": POOL_PATIENCE,
            }
            sessions.limit(statement_timeout=15, lock_timeout=10, idle_in_transaction_session_timeout=30)


def websockets(hub: Hub | None = None) -> Any:
    """The websocket side: our own pages only, with their session, at one address."""
    prefix = settings.PATH_PREFIX.lstrip("/")
    consumer = LiveConsumer.as_asgi(hub=hub)
    # A proxy may or may not take the prefix off.
    addresses = [path("live/", consumer), *([path(f"{prefix}/live/", consumer)] if prefix else [])]
    nowhere: Any = refuse
    return same_origin_only(AuthMiddlewareStack(URLRouter([*addresses, re_path("", nowhere)])))


async def lifespan(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Start and stop with the server; the hub's tasks end with it."""
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            await the_hub().stop()
            return


share_few_connections()
application = ProtocolTypeRouter({"http": http, "websocket": websockets(), "lifespan": lifespan})
