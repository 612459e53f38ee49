"""The Coverage page asks for itself anew when the monitor has looked again; the strip leads to it."""

from __future__ import annotations

from collections.abc import Callable

from django.utils import timezone
from playwright.sync_api import Locator, Page, expect

from jobs.models import Worker
from tests.harness import Installation, eventually
from tests.seed import seed
from tests.setups import a_gap, a_monitor, all_is_well

Visit = Callable[..., Page]


def test_a_new_limit_appears_and_goes_without_a_reload(installation: Installation, visit: Visit) -> None:
    seed(timezone.now())
    all_is_well(timezone.now())
    page = visit("/coverage/")
    page.evaluate("window.unloaded = false")
    heading = page.get_by_role("heading", level=1)
    expect(heading).to_contain_text("Everything that your workers did since")
    Worker.objects.filter(name="low@ams-1").update(events=False)
    await_words(heading, "1 thing limits what you see")
    expect(page.get_by_role("button", name="Copy: worker_send_task_events = True")).to_be_visible()
    Worker.objects.update(events=True)
    await_words(heading, "Everything that your workers did since")
    assert page.evaluate("window.unloaded") is False
    assert page.evaluate("window.violations") == []


def await_words(heading: Locator, words: str) -> None:
    """The page asks for itself; the cast gives signs of life meanwhile, though none of its processes runs."""

    def come() -> bool:
        now = timezone.now()
        a_monitor(now)
        Worker.objects.update(seen_at=now)
        return words in heading.inner_text()

    eventually(come, 60, heading.inner_text, every=0.5)


def test_a_gap_can_be_followed_from_the_strip_to_its_page(visit: Visit) -> None:
    seed(timezone.now())
    all_is_well(timezone.now())
    a_gap(timezone.now(), lost=402)
    page = visit("/jobs/")
    page.get_by_role("link", name="Gaps in the record: 1").click()
    expect(page.get_by_role("heading", level=1, name="Gaps")).to_be_visible()
    expect(page.locator("tbody tr")).to_contain_text("402")
    expect(page.get_by_role("link", name="Coverage").first).to_have_attribute("aria-current", "true")
    page.locator(".crumb").get_by_role("link", name="Coverage").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("1 thing limits what you see")
