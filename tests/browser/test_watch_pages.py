"""Pages move by themselves, say when they can't, and come back."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
from django.utils import timezone
from playwright.sync_api import Page, expect

from jobs import live
from jobs.models import Cluster, Job, Payload, Standing, Worker
from jobs.models.alerts import Kind
from tests import tasks
from tests.alerting import a_rule, an_alert
from tests.browser.chromium import Browser
from tests.browser.conftest import Site, sign_in
from tests.harness import Installation
from tests.seed import seed

Visit = Callable[..., Page]


def overview() -> dict[str, Any]:
    return live.overview(Cluster.DEFAULT_ID, "all", timezone.now())


def publish(frame: dict[str, Any]) -> None:
    """Send a frame as the monitor does. On a thread, since Playwright's loop runs in this one."""
    message = {"type": "frame", "topic": frame["topic"], "text": orjson.dumps(frame).decode()}
    layer: Any = get_channel_layer()
    sender = threading.Thread(
        target=lambda: async_to_sync(layer.group_send)(f"frame.{frame['topic']}", message)
    )
    sender.start()
    sender.join()


def assert_fresh(page: Page, state: str) -> None:
    """What the bar says of the page: "live", or "stale" with since when."""
    expect(page.locator("#fresh")).to_have_attribute("data-fresh", state, timeout=30_000)


def test_frames_of_figures_leave_the_count_of_alerts_alone(visit: Visit) -> None:
    seed(timezone.now())
    an_alert(a_rule(Kind.DEPTH), timezone.now(), "high", queue="high")
    page = visit()
    assert_fresh(page, "live")
    frame = overview()
    frame["figures"]["rate"]["now"] = 123_456.0
    publish(frame)
    expect(page.locator("#figure-rate .value")).to_have_text("123K")
    expect(page.locator(".side .alerts-count")).to_be_visible()


def test_numbers_rows_and_words_follow_the_frames(visit: Visit) -> None:
    seed(timezone.now())
    page = visit()
    assert_fresh(page, "live")
    frame = overview()
    frame["figures"]["rate"]["now"] = 123_456.0
    frame["figures"]["success"]["share"] = None
    frame["queues"] = [
        {**frame["queues"][0], "name": "urgent <b>", "verdict": "none", "depth": 4861, "oldest": 1080.0}
    ]
    frame["word"], frame["reason"] = "blind", "broker"
    publish(frame)
    expect(page.locator("#figure-rate .value")).to_have_text("123K")
    expect(page.locator("#figure-success .value a")).to_have_text("?")
    expect(page.locator('[data-rows="queues"] tr')).to_have_count(1)
    expect(page.locator('[data-rows="queues"] tr')).to_contain_text("urgent <b>")
    expect(page.locator('[data-rows="queues"] tr')).to_contain_text("No workers")
    expect(page.locator('[data-rows="queues"] tr')).to_contain_text("4,861")
    expect(page.get_by_role("heading", level=1, name="Blind", exact=True)).to_be_visible()
    expect(page.get_by_text("The broker can't be reached")).to_be_visible()
    assert page.locator('[data-rows="queues"] tr a').first.get_attribute("href") == "/queues/~dXJnZW50IDxiPg/"
    assert page.title().startswith("Blind")
    assert page.evaluate("window.violations") == []


def test_a_broker_that_is_lost_leaves_what_was_last_known(visit: Visit) -> None:
    seed(timezone.now())
    page = visit()
    assert_fresh(page, "live")
    frame = overview()
    frame["word"], frame["reason"] = "blind", "broker"
    frame["figures"]["rate"]["now"] = None
    publish(frame)
    expect(page.get_by_role("heading", level=1, name="Blind", exact=True)).to_be_visible()
    expect(page.locator("#chart canvas")).to_be_visible()
    burning = {
        "what": "no consumer",
        "name": "urgent <b>",
        "severity": "page",
        "since": None,
        "trend": [1, 2],
        "facts": {"value": 4861, "oldest": 1080.0},
        "alert": 7,
        "owner": "ana",
        "more": 0,
        "id": "one",
    }
    needs = {"rows": [burning], "more": 0, "total": 1, "unowned": 0, "silenced": 0}
    publish({**overview(), "word": "burning", "needs": needs})
    expect(page.get_by_role("heading", level=1, name="Burning", exact=True)).to_be_visible()
    row = page.locator(".needs > li")
    expect(row).to_have_count(1)
    expect(row.get_by_text("Queue urgent <b> has no workers.")).to_be_visible()
    expect(row.get_by_text("4,861 wait, the oldest for 18 min")).to_be_visible()
    expect(row.get_by_text("ana has it")).to_be_visible()
    expect(row.get_by_role("link", name="Alert")).to_have_attribute("href", "/alerts/7/")
    expect(page.get_by_text("Somebody is on all of it.")).to_be_visible()
    publish({**overview(), "at": frame["at"] + 1})
    expect(page.get_by_text("Nothing needs you.")).to_be_visible()
    expect(row).to_have_count(0)


def test_what_is_due_does_not_count_upwards(visit: Visit) -> None:
    seed(timezone.now())
    page = visit("/schedules/")
    assert_fresh(page, "live")
    # The list may ask for itself anew meanwhile, so its times are put back again and again.
    page.evaluate("""() => void setInterval(() => {
        for (const next of document.querySelectorAll("[data-until]")) next.dataset.until = 1;
    }, 50)""")
    expect(page.get_by_text("due", exact=True).first).to_be_visible()


def test_rows_stay_where_they_are_under_the_pointer(visit: Visit) -> None:
    seed(timezone.now())
    page = visit()
    assert_fresh(page, "live")
    names = page.locator('[data-rows="queues"] tr th')
    before = names.all_inner_texts()
    names.first.hover()
    frame = overview()
    frame["queues"] = [{**queue, "depth": 77} for queue in reversed(frame["queues"])]
    publish(frame)
    expect(page.locator('[data-rows="queues"] tr td:nth-child(3)').first).to_have_text("77")
    assert names.all_inner_texts() == before
    page.get_by_role("heading", level=1).hover()
    publish({**frame, "at": frame["at"] + 1})
    expect(names.first).to_have_text(before[-1])


def test_what_was_opened_stays_open_when_its_part_asks_again(visit: Visit) -> None:
    seed(timezone.now())
    page = visit("/queues/high/")
    assert_fresh(page, "live")
    page.get_by_text("As a table").click()
    expect(page.locator("#queues details")).to_have_attribute("open", "")
    before = page.locator("#queues h1").element_handle()
    Worker.objects.all().delete()
    publish({"topic": "queues", "at": timezone.now().timestamp(), "seq": 1})
    expect(page.get_by_role("heading", name="No worker reads it")).to_be_visible()
    expect(page.locator("#queues details")).to_have_attribute("open", "")
    assert before is not None
    assert before.evaluate("heading => heading.isConnected"), "the page was morphed, not written anew"


def test_the_first_job_turns_the_first_steps_into_the_overview(visit: Visit) -> None:
    page = visit()
    expect(page.get_by_role("heading", level=1, name="Ready")).to_be_visible()
    assert_fresh(page, "live")
    seed(timezone.now(), jobs=1)
    publish(overview())
    expect(page.get_by_role("heading", level=1, name="Quiet")).to_be_visible()
    expect(page.locator("#chart canvas")).to_be_visible()


def test_a_job_page_follows_progress_and_end(visit: Visit) -> None:
    job = seed(timezone.now(), jobs=1)[-1]
    page = visit(f"/jobs/{job.task_id}/")
    assert_fresh(page, "live")
    expect(page.locator("#progress")).to_contain_text("41.2 %")
    report = {"state": "UPLOADING", "meta": {"done": 3, "total": 4}, "at": timezone.now().timestamp()}
    Payload.objects.filter(pk=job.pk).update(progress=orjson.dumps(report).decode())
    publish(live.job(Job.objects.select_related("payload").get(pk=job.pk), "all", timezone.now()))
    expect(page.locator("#progress")).to_contain_text("75.0 %")
    expect(page.locator("#progress")).to_contain_text("UPLOADING")
    Job.objects.filter(pk=job.pk).update(state="succeeded", ended_at=timezone.now(), run=21.0, total=22.0)
    Payload.objects.filter(pk=job.pk).update(result='{"rows": 4711}')
    publish(live.job(Job.objects.select_related("payload").get(pk=job.pk), "all", timezone.now()))
    expect(page.get_by_role("heading", level=1)).to_contain_text("Succeeded")
    expect(page.get_by_text("4711")).to_be_visible()
    expect(page.get_by_text("Succeeded in 22 s")).to_be_visible()


def test_the_list_asks_again_but_not_under_the_pointer(visit: Visit) -> None:
    made = seed(timezone.now(), jobs=3)
    page = visit("/jobs/")
    assert_fresh(page, "live")
    rows = page.locator("#jobs-table tbody tr")
    expect(rows).to_have_count(5)
    rows.first.hover()
    newest = Job.objects.create(
        task_id="brand-new", task="shop.fresh", state="queued", seen_at=timezone.now()
    )
    Standing.objects.create(job=newest, state="queued", task="shop.fresh")
    publish({"topic": "jobs.all", "at": timezone.now().timestamp(), "seq": 1})
    expect(page.locator("#arrivals")).to_be_visible()
    expect(rows).to_have_count(5)
    page.locator("#arrivals").click()
    expect(rows.first).to_contain_text("fresh")
    Job.objects.filter(pk=made[0].pk).delete()
    page.get_by_role("heading", level=1).hover()
    publish({"topic": "jobs.all", "at": timezone.now().timestamp(), "seq": 2})
    expect(rows).to_have_count(5)
    expect(page.locator("#arrivals")).to_be_hidden()


def test_real_jobs_flow_from_an_enqueue_to_the_page(visit: Visit, installation: Installation) -> None:
    page = visit()
    expect(page.get_by_role("heading", level=1, name="Ready")).to_be_visible()
    installation.monitor()
    installation.worker("default")
    for number in range(3):
        tasks.add.delay(number, number)
    expect(page.get_by_role("heading", level=1, name="Quiet")).to_be_visible(timeout=30_000)
    expect(page.locator("#figure-success .context")).to_have_text("0 failed, 3 succeeded", timeout=30_000)
    tasks.add.delay(7, 7)
    expect(page.locator("#figure-success .context")).to_have_text("0 failed, 4 succeeded", timeout=30_000)
    expect(page.locator("#figure-workers .value")).to_contain_text("1")


@pytest.mark.slow
def test_a_frozen_server_is_said_and_survived(chromium: Browser, site: Site) -> None:
    seed(timezone.now())
    web = site.process
    with chromium.visitor(base_url=site.address) as context:
        page = context.new_page()
        sign_in(page)
        assert_fresh(page, "live")
        web.send(signal.SIGSTOP)
        assert_fresh(page, "stale")
        expect(page.locator("main.stale")).to_have_count(1)
        web.send(signal.SIGCONT)
        assert_fresh(page, "live")
        expect(page.locator("main.stale")).to_have_count(0)


@pytest.mark.slow
def test_a_page_comes_back_after_the_web_process_was_killed(
    chromium: Browser, installation: Installation, site: Site
) -> None:
    seed(timezone.now())
    with chromium.visitor(base_url=site.address) as context:
        page = context.new_page()
        sign_in(page)
        assert_fresh(page, "live")
        site.process.kill()
        assert_fresh(page, "stale")
        installation.web(site.port)
        assert_fresh(page, "live")
