"""Hostile text through the stream, from a real worker and from people: in a browser nothing of it runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
from django.urls import reverse
from django.utils import timezone
from playwright.sync_api import Page, expect

from jobs.models import Job, QueueSample, Worker
from nightdesk.recorder import Recorder
from tests import tasks
from tests.every_page import a_full_record, every_page
from tests.harness import Installation, eventually
from tests.hostile import EVERYTHING, MARKUP, TURNED, fill_everywhere
from tests.stream import START, entry_of, life_of
from tests.test_authorise import Things, things  # noqa: F401 a fixture
from tests.working import worker
from workers.monitor.ingest import STREAM

Visit = Callable[..., Page]
PATIENCE = 60
CORPUS = (*MARKUP, TURNED, EVERYTHING)


def forged(number: int, hostile: str) -> list[dict[str, Any]]:
    """The life of a job that carries this text wherever an event has room, and a worker of that name."""
    said = {"name", "queue", "args", "kwargs", "result", "exception", "traceback", "hostname"}
    at = time.time() - START - 5
    end = "task-failed" if number % 2 else "task-succeeded"
    life = [
        event | {key: hostile for key in event if key in said}
        for event in life_of(f"forged-{number}", at, end)
    ]
    beat = {
        "type": "worker-heartbeat",
        "hostname": hostile,
        "timestamp": START + at + 2,
        "pid": 1,
    }
    return [*life, {**beat, "queues": [hostile], "release": hostile, "sw_ver": hostile, "active": 1}]


def forge(installation: Installation) -> None:
    with redis.Redis.from_url(installation.redis.url) as client:
        for number, hostile in enumerate(CORPUS):
            entry = entry_of(forged(number, hostile), f"forger-{number}", at=time.time() - START)
            client.xadd(STREAM, entry[1], id="*")


def assert_inert(page: Page) -> None:
    assert page.evaluate("window.ran") is None, page.url
    assert page.evaluate("window.violations") == [], page.url
    assert TURNED[0] not in page.evaluate("document.title + document.body.innerText"), page.url


def with_what_was_forged() -> Iterator[str]:
    """Pages of what came through the stream, and the palette."""
    yield from (reverse("job-by-number", args=[pk]) for pk in Job.objects.values_list("pk", flat=True)[:200])
    yield from (reverse("worker-by-number", args=[pk]) for pk in Worker.objects.values_list("pk", flat=True))
    queues = QueueSample.objects.values_list("queue", flat=True).distinct()
    yield from (reverse("queue", args=[queue]) for queue in {*queues, *CORPUS})
    yield "/find/?q=%3Cscript"


@pytest.mark.slow
def test_nothing_that_jobs_carry_runs_while_pages_follow_them(
    installation: Installation, visit: Visit, published_from_here: Recorder
) -> None:
    installation.monitor()
    worker(installation, tasks="tests.tasks")
    pages = [visit(path) for path in ("/", "/jobs/", "/queues/", "/workers/", "/wall/")]
    forge(installation)
    sent = [tasks.fail_with.delay(hostile, **{hostile: hostile}) for hostile in CORPUS]
    published_from_here.drain()
    ended = Job.objects.filter(task_id__in=[one.id for one in sent], state="failed")
    eventually(lambda: ended.count() == len(CORPUS), PATIENCE)
    eventually(lambda: Job.objects.filter(task_id__startswith="forged").count() == len(CORPUS), PATIENCE)
    expect(pages[0].locator("[data-rows=failures]")).to_contain_text("<script>", timeout=PATIENCE * 1000)
    expect(pages[1].locator("#jobs-table")).to_contain_text("<img src=x", timeout=PATIENCE * 1000)
    for page in pages:
        assert_inert(page)
    for address in with_what_was_forged():
        assert pages[1].goto(address).status in (200, 404)  # type: ignore[union-attr]
        assert_inert(pages[1])
    pages[1].goto(f"/jobs/{sent[0].id}/")
    pages[1].get_by_role("button", name="Retry").click()
    expect(pages[1].locator(".toast")).to_be_visible()
    assert_inert(pages[1])
    pages[1].keyboard.press("Control+k")
    pages[1].keyboard.type("<script")
    expect(pages[1].locator("#palette [role=option]").first).to_contain_text("<script>")
    assert_inert(pages[1])


@pytest.mark.slow
def test_nothing_that_the_record_holds_runs_on_any_page(visit: Visit, things: Things) -> None:  # noqa: F811
    a_full_record(timezone.now())
    fill_everywhere(EVERYTHING)
    page = visit()
    for address in every_page(things):
        page.goto(address)
        assert_inert(page)
