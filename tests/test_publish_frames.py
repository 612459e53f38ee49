"""The monitor's publisher: frames for what is looked at, not too often, whatever breaks."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from channels.layers import get_channel_layer
from django.conf import LazySettings, settings
from django.db import OperationalError
from django.utils import timezone

from jobs import live
from jobs.live import topic_named
from jobs.models import Heartbeat, Job
from tests.harness import RedisServer
from workers.monitor.publish import Outlook, Publisher

OVERVIEW = topic_named("overview", "all")
JOBS = topic_named("jobs", "all")
JOB = topic_named("job-7", "all")


class Ear:
    """Stands where a hub stands: in one group for each topic it looks at."""

    def __init__(self) -> None:
        self._layer: Any = get_channel_layer()
        self._heard: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def look_at(self, *topics: str) -> None:
        channel = await self._layer.new_channel()
        self._listening = asyncio.create_task(self._listen(channel))
        for topic in topics:
            await self._layer.group_add(f"frame.{topic}", channel)
        await self.repeat(*topics)

    async def repeat(self, *topics: str) -> None:
        await self._layer.group_send("monitors", {"type": "interest", "topics": list(topics)})

    async def frame(self, timeout: float = 10.0) -> Any:
        message = await asyncio.wait_for(self._heard.get(), timeout)
        assert message["type"] == "frame"
        frame = json.loads(message["text"])
        assert frame["topic"] == message["topic"]
        return frame

    async def answered(self, topic: str) -> None:
        """Until a frame comes, asking again as a hub does."""
        async with asyncio.timeout(30):
            while True:
                try:
                    await self.frame(0.3)
                except TimeoutError:
                    await self.repeat(topic)
                else:
                    return

    async def _listen(self, channel: str) -> None:
        while True:
            self._heard.put_nowait(await self._layer.receive(channel))


@pytest.fixture
def publisher(transactional_db: None, redis_url: str) -> Iterator[Publisher]:
    publisher = Publisher()
    publisher.start()
    yield publisher
    publisher.stop()


@pytest.fixture
async def ear(publisher: Publisher) -> Ear:
    """An ear whose words the publisher hears: it stands in its group by now."""
    first = Ear()
    await first.look_at("schedules.all")
    await first.answered("schedules.all")
    return Ear()


async def test_a_newcomer_is_sent_what_changed_while_nobody_looked(publisher: Publisher, ear: Ear) -> None:
    await ear.look_at("overview.all")
    assert (await ear.frame())["word"] == "ready"


async def test_a_commit_brings_a_frame(publisher: Publisher, ear: Ear) -> None:
    await ear.look_at("overview.all")
    await ear.frame()
    await Heartbeat.objects.acreate(name="beat", at=timezone.now(), host="h", pid=1)
    publisher.changed([])
    assert (await ear.frame())["schedules"]["state"] == "online"


async def test_a_job_that_somebody_looks_at_is_sent_when_it_is_touched(
    publisher: Publisher, ear: Ear
) -> None:
    watched = await Job.objects.acreate(task_id="watched", state="queued", seen_at=timezone.now())
    await ear.look_at(f"job-{watched.pk}.all")
    assert (await ear.frame())["state"] == "queued"
    await Job.objects.filter(pk=watched.pk).aupdate(state="running")
    publisher.changed([watched.pk, watched.pk + 1])
    assert (await ear.frame())["state"] == "running"


async def test_a_fault_of_the_database_costs_a_frame_and_not_the_publisher(
    publisher: Publisher, ear: Ear, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = asyncio.Event()
    loop = asyncio.get_running_loop()

    def fails(*_: object) -> None:
        loop.call_soon_threadsafe(asked.set)
        raise OperationalError("the database is away")

    with monkeypatch.context() as broken:
        broken.setattr(live, "frame", fails)
        await ear.look_at("overview.all")
        await asyncio.wait_for(asked.wait(), 10)
    assert (await ear.frame())["topic"] == "overview.all"


async def test_a_topic_of_another_release_is_passed_over(publisher: Publisher, ear: Ear) -> None:
    await ear.look_at("weather.all", "job-17.everything", "overview.all")
    assert (await ear.frame())["topic"] == "overview.all"


async def test_frames_come_again_after_redis_was_killed(
    transactional_db: None, settings: LazySettings, caplog: pytest.LogCaptureFixture
) -> None:
    folder = settings.DATA_DIR / "killed"
    folder.mkdir(exist_ok=True)
    server = RedisServer(folder)
    server.start()
    settings.CHANNEL_LAYERS = layer_at(server.url)
    publisher, ear = Publisher(), Ear()
    publisher.start()
    try:
        await ear.look_at("overview.all")
        await ear.answered("overview.all")
        server.kill()
        publisher.changed([])
        await until(lambda: "a frame is missing" in caplog.text)
        server.start()
        await ear.answered("overview.all")
    finally:
        publisher.stop()
        server.stop()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)


def layer_at(url: str) -> dict[str, Any]:
    options = {
        **settings.CHANNEL_LAYERS["default"],
        "CONFIG": {"hosts": [{"address": url, "socket_timeout": None}]},
    }
    return {"default": options}


def test_nothing_is_made_that_nobody_looks_at() -> None:
    outlook = Outlook()
    outlook.change({"overview", "jobs"}, {7})
    assert outlook.due(now=100.0) == []


def test_a_look_that_is_not_repeated_is_forgotten() -> None:
    outlook = Outlook()
    outlook.want([OVERVIEW], now=100.0)
    outlook.due(now=100.0)
    outlook.change({"overview"}, ())
    assert outlook.due(now=116.0) == []


def test_many_commits_within_the_interval_make_one_frame() -> None:
    outlook = Outlook()
    outlook.want([OVERVIEW, JOBS], now=100.0)
    for topic in outlook.due(now=100.0):
        outlook.sent(topic, now=100.0, cost=0.01)
    for _ in range(30):
        outlook.change({"overview", "jobs"}, ())
    assert outlook.due(now=100.2) == []
    assert outlook.wait(now=100.2) == pytest.approx(0.05)
    assert outlook.due(now=100.25) == [OVERVIEW]
    assert outlook.due(now=101.0) == [JOBS]
    assert outlook.due(now=102.0) == []


def test_dear_frames_are_made_less_often() -> None:
    outlook = Outlook()
    outlook.want([OVERVIEW], now=100.0)
    for topic in outlook.due(now=100.0):
        outlook.sent(topic, now=100.0, cost=0.5)
    outlook.change({"overview"}, ())
    assert outlook.due(now=101.9) == []
    assert outlook.due(now=102.0) == [OVERVIEW]


def test_a_frame_that_failed_is_made_again() -> None:
    outlook = Outlook()
    outlook.want([JOB], now=100.0)
    assert outlook.due(now=100.0) == [JOB]
    outlook.failed(JOB, now=100.0)
    assert outlook.due(now=100.5) == []
    assert outlook.due(now=101.0) == [JOB]


def test_only_the_touched_job_is_made_again() -> None:
    outlook = Outlook()
    other = topic_named("job-8", "all")
    outlook.want([JOB, other], now=100.0)
    outlook.due(now=100.0)
    outlook.change({"overview"}, {7, 9})
    assert outlook.due(now=101.0) == [JOB]


def test_what_most_look_at_is_made_before_single_jobs() -> None:
    outlook = Outlook()
    outlook.want([JOB, JOBS, OVERVIEW], now=100.0)
    assert outlook.due(now=100.0) == [OVERVIEW, JOBS, JOB]


def test_there_is_an_end_to_what_can_be_looked_at() -> None:
    outlook = Outlook()
    outlook.want([topic_named(f"job-{n}", "all") for n in range(1, 5_000)], now=100.0)
    assert len(outlook.due(now=100.0)) == 2_000
