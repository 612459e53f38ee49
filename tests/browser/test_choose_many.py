"""Choosing many jobs, looking at what it means, and watching it happen, as a person does it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from django.contrib.auth.models import User
from django.utils import timezone
from playwright.sync_api import Page, expect

from jobs import live
from jobs.models import Bulk, Cluster, Job, QueueSample
from tests import tasks
from tests.browser.chromium import Browser
from tests.browser.conftest import Site, sign_in
from tests.browser.test_watch_pages import publish
from tests.bulks import begun, came, made, previewed, worked
from tests.harness import Installation
from tests.seed import seed
from tests.working import lines, worker
from workers.bulk.acting import act_on_some

Visit = Callable[..., Page]
SIZES = ((1280, 720), (1920, 1080), (390, 844))


def noting(count: int, file: Path) -> list[Job]:
    """Jobs that failed, and note a line in a file when they are retried."""
    embed = '{"callbacks": null, "errbacks": null, "chain": null, "chord": null}'
    return made(count, body=f'[["{file}", "again"], {{}}, {embed}]', task=tasks.note.name, queue="default")


def test_a_filter_is_retried_whole_from_the_list_to_the_end(
    visit: Visit, installation: Installation, tmp_path: Path
) -> None:
    ran = tmp_path / "ran"
    noting(130, ran)
    made(1, body=None, task=tasks.note.name, queue="default")
    installation.monitor()
    worker(installation, slots=2)
    page = visit("/jobs/?state=failed")
    page.get_by_label(re.compile("^Choose job-")).first.check()
    expect(page.get_by_text("1 chosen")).to_be_visible()
    page.get_by_label("All 131 jobs that match").check()
    page.get_by_role("button", name="Retry…").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Retry 130 jobs")
    expect(page.get_by_text("1 job can't be acted on")).to_be_visible()
    page.get_by_label("Reason").fill("the partner is back")
    page.get_by_label("Pace").select_option("100")
    page.get_by_label("Type 130 to confirm").fill("130")
    page.get_by_role("button", name="Retry 130 jobs").click()
    expect(page.get_by_text("130 of 130 retried")).to_be_visible(timeout=30_000)
    expect(page.get_by_role("heading", level=1)).to_contain_text("Finished")
    expect(page.locator("dt:has-text('Succeeded') + dd")).to_have_text("130", timeout=30_000)
    assert lines(ran) == ["again"] * 130
    assert page.evaluate("window.violations") == []


def test_it_is_paused_and_aborted_while_one_looks(visit: Visit, installation: Installation) -> None:
    made(400)
    installation.monitor()
    page = visit("/jobs/?state=failed")
    page.get_by_label("Choose all on this page").check()
    expect(page.get_by_text("50 chosen")).to_be_visible()
    page.get_by_role("button", name="Retry…").click()
    page.get_by_label("Pace").select_option("5")
    page.get_by_role("button", name="Retry 50 jobs").click()
    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Paused")
    page.get_by_role("button", name="Go on").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("At work")
    before = Bulk.objects.get().done
    expect(page.locator(".lead b")).not_to_have_text(f"{before} of 50 retried", timeout=10_000)
    page.locator("summary", has_text="Abort").click()
    page.get_by_role("button", name=re.compile("Abort, leave")).click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Aborted")
    assert Bulk.objects.get().left > 0


def test_shift_chooses_all_rows_between(visit: Visit) -> None:
    made(20)
    page = visit("/jobs/")
    boxes = page.get_by_label(re.compile("^Choose job-"))
    boxes.nth(3).click()
    boxes.nth(8).click(modifiers=["Shift"])
    expect(page.get_by_text("6 chosen")).to_be_visible()
    page.get_by_role("button", name="Clear").click()
    expect(page.get_by_role("button", name="Clear")).to_be_hidden()
    expect(page.get_by_role("heading", name="20 jobs")).to_be_visible()


def test_rows_stay_while_some_are_chosen(visit: Visit) -> None:
    made(5)
    page = visit("/jobs/")
    expect(page.locator("#fresh")).to_have_attribute("data-fresh", "live", timeout=30_000)
    page.get_by_label("Choose job-2").check()
    page.mouse.move(0, 0)
    page.evaluate("document.activeElement.blur()")
    made(1)
    publish(live.jobs(Cluster.DEFAULT_ID, "all", timezone.now()))
    expect(page.locator("#arrivals")).not_to_have_attribute("hidden", "")
    expect(page.get_by_label("Choose job-2")).to_be_checked()
    expect(page.locator("#jobs-table tbody tr")).to_have_count(5)
    page.get_by_role("button", name="Clear").click()
    page.locator("#arrivals").click()
    expect(page.locator("#jobs-table tbody tr")).to_have_count(6)


def test_without_script_rows_are_chosen_as_well(chromium: Browser, site: Site) -> None:
    made(3)
    with chromium.visitor(base_url=site.address, java_script_enabled=False) as context:
        page = context.new_page()
        sign_in(page)
        page.goto("/jobs/?state=failed")
        expect(page.get_by_role("button", name="Retry…")).to_be_hidden()
        page.get_by_label("Choose job-1").check()
        page.get_by_role("button", name="Retry…").click()
        page.get_by_role("button", name="Retry 1 job").click()
        expect(page.get_by_role("heading", level=1)).to_contain_text("At work")
    assert Bulk.objects.get().eligible == 1


def test_the_pages_of_bulks_keep_to_their_width_and_to_the_policy(visit: Visit, ops: User) -> None:
    seed(timezone.now())
    made(140, exception="HTTPStatusError: 410 Gone for <b>https://example.com/" + "a" * 300)
    made(30, body=None, task="shop." + "long_name_" * 20, queue="q" * 200)
    QueueSample.objects.create(queue="high", at=timezone.now(), depth=1204)
    preview = previewed(ops, state="failed")
    running = begun(ops, state="failed")
    act_on_some(running.pk, 60)
    came(running, failed=12, succeeded=30)
    worked(begun(ops, "revoke", state="running"))
    page = visit()
    for path in (
        f"/bulk/{preview.pk}/",
        f"/bulk/{running.pk}/",
        f"/bulk/{running.pk}/?show=refused",
        "/bulk/",
    ):
        page.goto(path)
        for width, height in SIZES:
            page.set_viewport_size({"width": width, "height": height})
            expect(page.get_by_role("heading", level=1)).to_be_visible()
            assert page.evaluate("window.violations") == []
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{path} at {width}"
