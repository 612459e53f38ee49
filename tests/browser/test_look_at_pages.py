"""Every page at every size: readable, within its width, and with nothing the policy forbids."""

from __future__ import annotations

from collections.abc import Callable

from django.utils import timezone
from playwright.sync_api import Page, expect

from jobs.models import Attempt, Gap, Job, Payload, Quarantine, Standing, Worker
from jobs.values import EXCEPTION_LENGTH, name, text
from tests.seed import seed
from tests.setups import much_is_ill

Visit = Callable[..., Page]
SIZES = ((1280, 720), (1920, 1080), (390, 844))
PAGES = (
    "/",
    "/jobs/",
    "/jobs/?state=failed",
    "/jobs/?state=revoked&queue=nowhere",
    "/jobs/b7e4c1d2-58f0-4c7e-9d1b-3a60e2f9c814/",
    "/jobs/77c0e1ab-0000-4000-8000-000000000001/",
    "/tasks/",
    "/tasks/workers.demo.tasks.sync_product/?window=1h",
    "/workflows/",
    "/errors/",
    "/dead/",
    "/dead/requeue/?why=retries",
    "/schedules/",
    "/coverage/",
    "/gaps/",
    "/quarantine/",
    "/nothing/here/",
)
ADMIN = ("/admin/", "/admin/django_celery_beat/periodictask/", "/admin/django_celery_beat/periodictask/add/")
HOSTILE = ("<img src=x onerror=document.title='broken'>", "\u202egnp.exe", "name." * 2_000, "a" * 10_000)


def assert_in_order(page: Page) -> None:
    assert page.evaluate("window.violations") == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{page.url} is too wide"


def test_pages_keep_to_their_width_and_to_the_policy(visit: Visit) -> None:
    seed(timezone.now())
    page = visit()
    for path in PAGES:
        page.goto(path)
        for width, height in SIZES:
            page.set_viewport_size({"width": width, "height": height})
            expect(page.get_by_role("heading", level=1)).to_be_visible()
            assert_in_order(page)


def test_a_phone_shows_schedules_whole(visit: Visit) -> None:
    seed(timezone.now())
    page = visit("/schedules/", viewport={"width": 390, "height": 844})
    expect(page.get_by_role("link", name="Edit").first).to_be_in_viewport(ratio=1)
    assert page.evaluate(
        "(([roll]) => roll.scrollWidth <= roll.clientWidth)(document.querySelectorAll('.roll'))"
    )
    assert page.evaluate(
        "[...document.querySelectorAll('.fill > *')].every((e) => e.scrollWidth <= e.clientWidth)"
    )


def test_the_admin_keeps_to_the_policy(visit: Visit) -> None:
    page = visit()
    for path in ADMIN:
        page.goto(path)
        expect(page.locator("#site-name")).to_contain_text("Nightdesk")
        assert page.evaluate("window.violations") == []


def test_the_first_start_keeps_to_its_width_and_to_the_policy(visit: Visit) -> None:
    page = visit(viewport={"width": 390, "height": 844})
    expect(page.get_by_role("heading", level=1, name="Ready")).to_be_visible()
    assert_in_order(page)


def test_hostile_names_are_text_and_break_nothing(visit: Visit) -> None:
    job = seed(timezone.now(), jobs=4)[-2]
    page = visit()
    for hostile in HOSTILE:
        fill_with(job, hostile)
        for path in ("/", "/jobs/", f"/jobs/{job.task_id}/"):
            page.goto(path)
            expect(page.locator("#fresh")).to_have_attribute("data-fresh", "live")
            assert_in_order(page)
            assert page.locator("img").count() == 0
            assert page.title() != "broken"


def fill_with(job: Job, hostile: str) -> None:
    """Put the text wherever a job carries one, cut as the record cuts it."""
    called, fault = name(hostile), text(hostile, EXCEPTION_LENGTH)
    Job.objects.filter(pk=job.pk).update(task=called, queue=called, worker=called, exception=fault)
    Standing.objects.filter(pk=job.pk).update(task=called, queue=called)
    Attempt.objects.filter(job=job).update(worker=called, exception=fault, traceback=hostile)
    Payload.objects.filter(pk=job.pk).update(kwargs=hostile, result=hostile)
    Worker.objects.update(name=called, queues=called)


def test_what_is_wrong_with_the_record_fits_and_is_text_whatever_it_holds(visit: Visit) -> None:
    now = timezone.now()
    seed(now)
    much_is_ill(now)
    page = visit()
    for hostile in (None, *HOSTILE):
        if hostile is not None:
            Worker.objects.update(name=name(hostile))
            Gap.objects.update(source=hostile[:64], reason=hostile[:32])
            Quarantine.objects.update(sample=hostile)
        for path in ("/coverage/", "/gaps/", "/quarantine/"):
            page.goto(path)
            for width, height in SIZES:
                page.set_viewport_size({"width": width, "height": height})
                assert_in_order(page)
            assert page.locator("img").count() == 0
            assert page.title() != "broken"


def test_a_page_can_be_read_without_script(visit: Visit) -> None:
    seed(timezone.now())
    page = visit("/", java_script_enabled=False)
    expect(page.get_by_role("heading", level=1, name="Quiet")).to_be_visible()
    expect(page.locator("#figure-success")).to_contain_text("failed")
    page.get_by_text("As a table").click()
    expect(page.locator("#chart-rows tr")).to_have_count(60)
    page.goto("/jobs/")
    page.get_by_label("State").select_option("failed")
    page.get_by_role("button", name="Filter").click()
    expect(page.locator("#jobs-table tbody tr").first).to_contain_text("Failed")
    assert page.url.endswith("/jobs/?state=failed&task=&queue=&since=&until=")


def test_filters_change_the_list_and_the_address(visit: Visit) -> None:
    seed(timezone.now())
    page = visit("/jobs/")
    page.get_by_label("State").select_option("running")
    expect(page.locator("#jobs-table tbody tr")).to_have_count(1)
    expect(page.locator("#jobs-table tbody tr")).to_contain_text("generate_report")
    assert "state=running" in page.url
    assert_in_order(page)


def test_a_theme_that_was_chosen_stays(visit: Visit) -> None:
    page = visit("/", color_scheme="light")
    paper = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(paper)
    page.locator(".account .who").click()
    page.get_by_role("button", name="Dark").click()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    dark = page.evaluate(paper)
    assert dark != light
    page.goto("/jobs/")
    assert page.evaluate(paper) == dark


def test_signing_out_is_a_button_away(visit: Visit) -> None:
    page = visit()
    page.locator(".account .who").click()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_label("Password")).to_be_visible()
    page.goto("/jobs/")
    expect(page.get_by_label("Password")).to_be_visible()
