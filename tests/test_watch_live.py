"""Watching a topic over the websocket: who may, what comes, and that nobody can hold up the others."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from channels.layers import get_channel_layer
from django.conf import LazySettings
from django.contrib.auth.models import Group, User
from django.contrib.sessions.models import Session
from django.db import OperationalError
from django.test import Client
from django.utils import timezone

from dashboard import hub as hub_module
from dashboard.asgi import websockets
from dashboard.consumers import make_frame, scopes_of
from dashboard.hub import Hub, Seat
from jobs import scopes
from jobs.access import Span
from jobs.models import Heartbeat, Job, Reach
from tests.harness import RedisServer
from tests.harness.sockets import Socket

ORIGIN = (b"origin", b"http://testserver")
HOST = (b"host", b"testserver")

pytestmark = pytest.mark.usefixtures("transactional_db", "redis_url")


@pytest.fixture
def cookie(ops: User) -> tuple[bytes, bytes]:
    """The session of a signed-in person, as a browser sends it."""
    client = Client()
    client.force_login(ops)
    return b"cookie", f"nightdesk_session={client.cookies['nightdesk_session'].value}".encode()


@pytest.fixture
async def hub() -> AsyncIterator[Hub]:
    hub = Hub(sync_to_async(make_frame), sync_to_async(scopes_of))
    yield hub
    await hub.stop()


@asynccontextmanager
async def opened(hub: Hub, *headers: tuple[bytes, bytes]) -> AsyncIterator[Socket]:
    """A socket that the server has accepted."""
    socket = Socket(websockets(hub), list(headers))
    assert (await socket.open())["type"] == "websocket.accept"
    yield socket
    await socket.leave()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)


async def test_a_socket_gets_the_present_frame_at_once(hub: Hub, cookie: Any) -> None:
    async with opened(hub, ORIGIN, HOST, cookie) as socket:
        socket.say('{"watch": ["overview"]}')
        frame = await socket.frame("overview.all")
    assert frame["word"] == "ready"


async def test_a_frame_of_the_monitor_reaches_the_socket(hub: Hub, cookie: Any) -> None:
    async with opened(hub, ORIGIN, HOST, cookie) as socket:
        socket.say('{"watch": ["overview"]}')
        await socket.frame("overview.all")
        await tell("overview.all", n=41)
        assert (await socket.frame("overview.all"))["n"] == 41


async def tell(topic: str, **content: object) -> None:
    """Send a frame as the monitor does."""
    text = json.dumps({"topic": topic, **content})
    await get_channel_layer().group_send(f"frame.{topic}", {"type": "frame", "topic": topic, "text": text})


async def test_a_socket_gets_only_what_it_watches(hub: Hub, cookie: Any) -> None:
    async with opened(hub, ORIGIN, HOST, cookie) as looks, opened(hub, ORIGIN, HOST, cookie) as lists:
        looks.say('{"watch": ["overview"]}')
        lists.say('{"watch": ["jobs"]}')
        await looks.frame("overview.all")
        await lists.frame("jobs.all")
        await tell("overview.all", n=1)
        await tell("jobs.all", n=2)
        assert await lists.any_frame() == {"topic": "jobs.all", "n": 2}


async def test_the_monitor_hears_what_is_looked_at(hub: Hub, cookie: Any) -> None:
    layer: Any = get_channel_layer()
    ear = await layer.new_channel()
    await layer.group_add("monitors", ear)
    async with opened(hub, ORIGIN, HOST, cookie) as socket:
        socket.say('{"watch": ["overview", "jobs"]}')
        async with asyncio.timeout(10):
            while (heard := await layer.receive(ear))["topics"] != ["jobs.all", "overview.all"]:
                pass
    assert heard["type"] == "interest"


async def test_what_nobody_looks_at_any_more_is_left(
    hub: Hub, cookie: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_module, "BEAT_SECONDS", 0.02)
    layer: Any = get_channel_layer()
    ear = await layer.new_channel()
    await layer.group_add("monitors", ear)
    async with opened(hub, ORIGIN, HOST, cookie) as socket:
        socket.say('{"watch": ["overview", "jobs"]}')
        await socket.frame("jobs.all")
        socket.say('{"watch": ["jobs"]}')
        async with asyncio.timeout(10):
            while (await layer.receive(ear))["topics"] != ["jobs.all"]:
                pass
        await until(lambda: hub._joined == {"jobs.all"})


async def test_a_job_is_watched_by_its_number(hub: Hub, cookie: Any, job: Job) -> None:
    async with opened(hub, ORIGIN, HOST, cookie) as socket:
        socket.say(json.dumps({"watch": [f"job-{job.pk}"]}))
        assert (await socket.frame(f"job-{job.pk}.all"))["task_id"] == "a-job"


@pytest.fixture
def job() -> Job:
    return Job.objects.create(task_id="a-job", state="queued", seen_at=timezone.now())


async def test_who_is_not_signed_in_is_told_so(hub: Hub) -> None:
    async with opened(hub, ORIGIN, HOST) as socket:
        assert await socket.close_code() == 4401


async def test_a_session_of_a_closed_account_is_not_enough(hub: Hub, cookie: Any, ops: User) -> None:
    await User.objects.filter(pk=ops.pk).aupdate(is_active=False)
    async with opened(hub, ORIGIN, HOST, cookie) as socket:
        assert await socket.close_code() == 4401


@pytest.mark.parametrize(
    "words",
    [
        "",
        "watch",
        "[]",
        "{}",
        '{"watch": "overview"}',
        '{"watch": [1]}',
        '{"watch": ["nonsense"]}',
        '{"watch": ["job-"]}',
        '{"watch": ["job-0"]}',
        '{"watch": ["job-' + "9" * 30 + '"]}',
        '{"watch": ["overview.all"]}',
        json.dumps({"watch": [f"job-{n}" for n in range(1, 10)]}),
        json.dumps({"watch": ["overview" + " " * 3000]}),
        "[" * 1500,
    ],
)
async def test_garbage_closes_the_socket(hub: Hub, cookie: Any, words: str) -> None:
    async with opened(hub, ORIGIN, HOST, cookie) as socket:
        socket.say(words)
        assert await socket.close_code() == 4400


async def test_bytes_close_the_socket(hub: Hub, cookie: Any) -> None:
    async with opened(hub, ORIGIN, HOST, cookie) as socket:
        socket.say(data=b'{"watch": ["overview"]}')
        assert await socket.close_code() == 4400


async def test_a_flood_of_messages_closes_the_socket(hub: Hub, cookie: Any) -> None:
    async with opened(hub, ORIGIN, HOST, cookie) as socket:
        for _ in range(61):
            socket.say('{"watch": []}')
        assert await socket.close_code() == 4400


async def test_there_is_one_address_alone(hub: Hub, cookie: Any) -> None:
    socket = Socket(websockets(hub), [ORIGIN, HOST, cookie], "/elsewhere/")
    assert await socket.open() == {"type": "websocket.close", "code": 4404}


@pytest.mark.parametrize("origin", [None, b"http://testserver:8001", b"http://evil.example", b"null"])
async def test_a_foreign_page_is_refused_before_the_socket_opens(
    hub: Hub, cookie: Any, origin: bytes | None
) -> None:
    headers = [HOST, cookie, *([(b"origin", origin)] if origin else [])]
    socket = Socket(websockets(hub), headers)
    assert await socket.open() == {"type": "websocket.close", "code": 4403}


async def test_a_silent_socket_feels_a_pulse(hub: Hub, cookie: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_module, "BEAT_SECONDS", 0.02)
    async with opened(hub, ORIGIN, HOST, cookie) as socket:
        frame = await socket.any_frame()
    assert frame["topic"] == "pulse"
    assert frame["at"] > 1_700_000_000


async def test_who_signs_out_loses_the_socket(hub: Hub, cookie: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_module, "RECHECK_SECONDS", 0.02)
    async with opened(hub, ORIGIN, HOST, cookie) as socket:
        socket.say('{"watch": ["overview"]}')
        await socket.frame("overview.all")
        await Session.objects.all().adelete()
        assert await socket.close_code() == 4401


async def test_who_is_deactivated_loses_the_socket(
    hub: Hub, cookie: Any, ops: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_module, "RECHECK_SECONDS", 0.02)
    async with opened(hub, ORIGIN, HOST, cookie) as socket:
        socket.say('{"watch": ["overview"]}')
        await socket.frame("overview.all")
        await User.objects.filter(pk=ops.pk).aupdate(is_active=False)
        assert await socket.close_code() == 4401


@pytest.mark.parametrize(("roles", "code"), [(["operator"], 4405), ([], 4401)])
async def test_who_gets_another_role_looks_again_and_who_has_none_no_more(
    hub: Hub, cookie: Any, ops: User, monkeypatch: pytest.MonkeyPatch, roles: list[str], code: int
) -> None:
    monkeypatch.setattr(hub_module, "RECHECK_SECONDS", 0.02)
    async with opened(hub, ORIGIN, HOST, cookie) as socket:
        socket.say('{"watch": ["overview"]}')
        await socket.frame("overview.all")
        await ops.groups.aset([group async for group in Group.objects.filter(name__in=roles)])
        if roles:
            await Reach.objects.acreate(user=ops, queues="low")
        await User.objects.filter(pk=ops.pk).aupdate(is_superuser=False)
        assert await socket.close_code() == code


async def test_the_monitor_is_told_what_a_scope_means(hub: Hub, cookie: Any, ops: User) -> None:
    layer: Any = get_channel_layer()
    ear = await layer.new_channel()
    await layer.group_add("monitors", ear)
    await ops.groups.aset([group async for group in Group.objects.filter(name="viewer")])
    await Reach.objects.acreate(user=ops, queues="low")
    await User.objects.filter(pk=ops.pk).aupdate(is_superuser=False)
    async with opened(hub, ORIGIN, HOST, cookie) as socket:
        socket.say('{"watch": ["overview"]}')
        frame = await socket.any_frame()
        assert frame["topic"].startswith("overview.s")
        async with asyncio.timeout(10):
            while frame["topic"] not in (heard := await layer.receive(ear))["topics"]:
                pass
    scopes.learn(heard["scopes"])
    assert scopes.named(frame["topic"].removeprefix("overview.")).spans == (Span(("low",), ("*",)),)


async def test_who_changes_the_password_loses_the_other_sockets(
    hub: Hub, cookie: Any, ops: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_module, "RECHECK_SECONDS", 0.02)
    async with opened(hub, ORIGIN, HOST, cookie) as socket:
        socket.say('{"watch": ["overview"]}')
        await socket.frame("overview.all")
        ops.set_password("another long night")
        await ops.asave()
        assert await socket.close_code() == 4401


async def test_a_slow_reader_gets_the_latest_frame_and_none_of_the_old_ones() -> None:
    seat = Seat("a session", "all")
    for n in range(10_000):
        seat.put("overview.all", f"overview {n}")
        seat.put("jobs.all", f"jobs {n}")
    assert sorted(await seat.take()) == ["jobs 9999", "overview 9999"]


async def test_a_reader_that_stands_still_holds_up_nobody(hub: Hub, cookie: Any) -> None:
    async with opened(hub, ORIGIN, HOST, cookie) as stuck, opened(hub, ORIGIN, HOST, cookie) as quick:
        stuck.gate.clear()
        for socket in (stuck, quick):
            socket.say('{"watch": ["overview"]}')
        await quick.frame("overview.all")
        await until(lambda: stuck.tried == 1)
        for n in range(50):
            await tell("overview.all", n=n)
        while (await quick.frame("overview.all")).get("n") != 49:
            pass
        stuck.gate.set()
        in_flight, latest = await stuck.any_frame(), await stuck.any_frame()
    assert "n" not in in_flight
    assert latest["n"] == 49


async def test_all_who_come_at_once_share_one_reading_of_the_database() -> None:
    made: list[str] = []
    hub = Hub(counting(made), sync_to_async(scopes_of))
    seats = [Seat(f"session {n}", "all") for n in range(200)]
    for seat in seats:
        hub.join(seat)
        hub.watch(seat, frozenset({"overview.all"}))
    for seat in seats:
        assert await seat.take() == ["a frame"]
    await hub.stop()
    assert made == ["overview.all"]


def counting(made: list[str]) -> Callable[[str], Awaitable[str | None]]:
    async def make(topic: str) -> str | None:
        made.append(topic)
        return "a frame"

    return make


async def test_a_frame_that_could_not_be_made_is_made_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_module, "BEAT_SECONDS", 0.02)
    answers: list[str | Exception] = [OperationalError("locked"), OperationalError("locked"), "a frame"]

    async def make(topic: str) -> str | None:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    hub, seat = Hub(make, sync_to_async(scopes_of)), Seat("a session", "all")
    hub.join(seat)
    hub.watch(seat, frozenset({"job-1.all"}))
    while "a frame" not in await seat.take():
        pass
    await hub.stop()
    assert answers == []


@pytest.mark.parametrize("path", ["/desk/live/", "/live/"])
async def test_behind_a_path_prefix_the_socket_is_there_too(
    hub: Hub, cookie: Any, settings: LazySettings, path: str
) -> None:
    settings.PATH_PREFIX = "/desk"
    socket = Socket(websockets(hub), [ORIGIN, HOST, cookie], path)
    assert (await socket.open())["type"] == "websocket.accept"
    await socket.leave()


async def test_who_comes_later_gets_the_last_frame_without_a_reading() -> None:
    made: list[str] = []
    hub = Hub(counting(made), sync_to_async(scopes_of))
    first, second = Seat("first", "all"), Seat("second", "all")
    for seat in (first, second):
        hub.join(seat)
        hub.watch(seat, frozenset({"overview.all"}))
        assert await seat.take() == ["a frame"]
    await hub.stop()
    assert made == ["overview.all"]


async def test_when_the_monitor_is_silent_the_page_learns_that_it_is_blind(
    hub: Hub, cookie: Any, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_module, "BEAT_SECONDS", 0.02)
    monkeypatch.setattr(hub_module, "SILENT_SECONDS", 0.02)
    heartbeat = await Heartbeat.objects.acreate(name="monitor", at=timezone.now(), host="h", pid=1)
    async with opened(hub, ORIGIN, HOST, cookie) as socket:
        socket.say('{"watch": ["overview"]}')
        assert (await socket.frame("overview.all"))["word"] == "quiet"
        heartbeat.at -= timedelta(minutes=1)
        await heartbeat.asave()
        async with asyncio.timeout(10):
            while (frame := await socket.frame("overview.all"))["word"] == "quiet":
                pass
    assert (frame["word"], frame["reason"], frame["since"]) == ("blind", "monitor", heartbeat.at.timestamp())


async def test_after_redis_was_killed_the_socket_is_mended_and_hears_the_monitor_again(
    cookie: Any,
    job: Job,
    monkeypatch: pytest.MonkeyPatch,
    settings: LazySettings,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(hub_module, "BEAT_SECONDS", 0.1)
    server = RedisServer(settings.DATA_DIR / "mended")
    (settings.DATA_DIR / "mended").mkdir()
    server.start()
    place = {"hosts": [{"address": server.url, "socket_timeout": None}]}
    settings.CHANNEL_LAYERS = {"default": {**settings.CHANNEL_LAYERS["default"], "CONFIG": place}}
    hub = Hub(sync_to_async(make_frame), sync_to_async(scopes_of))
    async with opened(hub, ORIGIN, HOST, cookie) as socket:
        socket.say(json.dumps({"watch": [f"job-{job.pk}"]}))
        assert (await socket.frame(f"job-{job.pk}.all"))["state"] == "queued"
        server.kill()
        await until(lambda: "no frames come from Redis" in caplog.text)
        # Its frame goes to nobody.
        await Job.objects.filter(pk=job.pk).aupdate(state="succeeded")
        while (await socket.frame(f"job-{job.pk}.all")).get("state") != "succeeded":
            pass
        server.start()
        async with asyncio.timeout(30):
            while (await socket.frame(f"job-{job.pk}.all")).get("n") != 41:
                await tell(f"job-{job.pk}.all", n=41)
    await hub.stop()
    server.stop()
