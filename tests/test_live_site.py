"""The live path through a real web server: sign-in, socket, frame, and a server that goes away."""

from __future__ import annotations

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode, urlsplit
from urllib.request import HTTPCookieProcessor, build_opener, urlopen

import pytest
from django.contrib.auth.hashers import PBKDF2PasswordHasher
from django.contrib.auth.models import User
from django.db import connection
from django.utils import timezone
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus

from jobs.models import Heartbeat
from tests.harness import Installation, Process, eventually
from tests.harness.installation import answers
from workers.monitor.publish import Publisher

PASSWORD = "a long night at the desk"
SESSIONS = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'nightdesk'"


@pytest.fixture
def address(site: tuple[Process, str]) -> str:
    return site[1]


@pytest.fixture
def site(installation: Installation, ops: User) -> tuple[Process, str]:
    """A web process that serves static files as they lie, and somebody who can sign in."""
    # A hash that the product's own settings accept; the suite's are made to be quick.
    ops.password = PBKDF2PasswordHasher().encode(PASSWORD, "salt")
    ops.save()
    return installation.web(DEBUG="true")


def sign_in(address: str) -> str:
    """Sign in as a browser does; the cookies to send from then on."""
    jar = CookieJar()
    browser = build_opener(HTTPCookieProcessor(jar))
    page = browser.open(f"{address}/sign-in/", timeout=10).read().decode()
    token = page.split('name="csrfmiddlewaretoken" value="', 1)[1].split('"', 1)[0]
    form = {"csrfmiddlewaretoken": token, "username": "ops", "password": PASSWORD}
    with browser.open(f"{address}/sign-in/", urlencode(form).encode(), timeout=10) as landed:
        assert landed.url == f"{address}/"
    return "; ".join(f"{cookie.name}={cookie.value}" for cookie in jar)


def socket_to(address: str, cookie: str, origin: str | None = None) -> Any:
    url = f"ws://{urlsplit(address).netloc}/live/"
    return connect(url, origin=origin or address, additional_headers={"Cookie": cookie})  # type: ignore[arg-type]


async def next_frame(socket: ClientConnection) -> Any:
    while True:
        frame = json.loads(await asyncio.wait_for(socket.recv(), 15))
        if frame["topic"] != "pulse":
            return frame


def test_a_commit_reaches_a_browser_through_a_real_server(address: str) -> None:
    publisher = Publisher()
    publisher.start()

    cookie = sign_in(address)

    async def watch() -> None:
        async with socket_to(address, cookie) as socket:
            await socket.send('{"watch": ["overview"]}')
            assert (await next_frame(socket))["schedules"]["state"] == "never"
            await Heartbeat.objects.acreate(name="beat", at=timezone.now(), host="h", pid=1)
            publisher.changed([])
            while (await next_frame(socket))["schedules"]["state"] != "online":
                publisher.changed([])

    try:
        asyncio.run(watch())
    finally:
        publisher.stop()


def test_a_page_of_another_port_is_refused(address: str) -> None:

    cookie = sign_in(address)

    async def intrude() -> int:
        with pytest.raises(InvalidStatus) as refusal:
            await socket_to(address, cookie, origin="http://127.0.0.1:1").__aenter__()
        return int(refusal.value.response.status_code)

    assert asyncio.run(intrude()) == 403


def test_a_server_that_stops_says_so_and_leaves_no_error(site: tuple[Process, str]) -> None:
    web, address = site

    cookie = sign_in(address)

    async def watch() -> None:
        async with socket_to(address, cookie) as socket:
            await socket.send('{"watch": ["overview", "jobs"]}')
            await next_frame(socket)
            stopping = asyncio.get_running_loop().run_in_executor(None, web.stop)
            await asyncio.wait_for(socket.wait_closed(), 15)
            assert socket.close_code == 1012
            await stopping

    asyncio.run(watch())
    assert "[error" not in web.text(), web.text()
    assert "Traceback" not in web.text(), web.text()


def test_requests_leave_no_database_connection_behind(site: tuple[Process, str]) -> None:
    web, address = site
    before = open_databases(web.pid)
    for _ in range(60):
        with suppress(HTTPError):
            urlopen(f"{address}/readyz", timeout=10).close()
    # The last request's connection is closed only after its answer.
    eventually(lambda: open_databases(web.pid) <= before + 3, message="no more are open than before")


@pytest.mark.skipif("connection.vendor != 'postgresql'", reason="SQLite's connections cost nothing")
def test_many_requests_at_once_share_few_connections(installation: Installation) -> None:
    database = f"{installation.env['DATABASE_URL']}&application_name=few"
    _, address = installation.web(DATABASE_URL=database, WEB_CONNECTIONS="2")
    with ThreadPoolExecutor(12) as pool:
        assert all(pool.map(lambda _: answers(f"{address}/readyz", 503), range(60)))
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'few'")
        assert 1 <= cursor.fetchone()[0] <= 2


def open_databases(pid: int) -> int:
    """How many sessions PostgreSQL has, or files of SQLite the process has open."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(SESSIONS)
            return int(cursor.fetchone()[0])
    folder, count = Path(f"/proc/{pid}/fd"), 0
    if not folder.exists():
        pytest.skip("only Linux shows what a process has open")
    for entry in folder.iterdir():
        with suppress(OSError):
            count += "sqlite3" in str(entry.readlink())
    return count
