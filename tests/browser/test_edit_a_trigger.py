"""A trigger is made and edited in the admin, and seen firing on its page."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from jobs.models import Firing, Trigger
from tests.harness import Installation, eventually

PATIENCE = 60_000
TASK = "workers.demo.tasks.cleanup_expired"


@pytest.mark.slow
def test_a_trigger_is_edited_and_seen_firing(installation: Installation, visit: Callable[..., Page]) -> None:
    installation.monitor()
    installation.worker("high,default,low")
    page = visit("/triggers/")
    page.get_by_role("link", name="New trigger").first.click()
    page.get_by_label("Name").fill("clear up for the night")
    page.get_by_label("Model").select_option("auth.group")
    page.get_by_label("On create").check()
    page.get_by_label("Condition").fill('nam == "night"')
    page.get_by_label("Task").select_option(TASK)
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator(".errorlist").last).to_contain_text("there is no field 'nam'")
    page.get_by_label("Condition").fill('name == "never"')
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator(".errorlist").last).to_contain_text("got an unexpected keyword argument 'pk'")
    page.get_by_label("Arguments").fill("{}")
    page.get_by_role("button", name="Save", exact=True).click()

    page.get_by_role("link", name="clear up for the night").first.click()
    page.get_by_label("Condition").fill('name != "day"')
    page.get_by_role("button", name="Save and continue editing").click()
    page.get_by_role("link", name="what fired, what did not, and a rehearsal").click()
    expect(page.locator("dl.facts")).to_contain_text('name != "day"')
    expect(page.locator("main")).to_contain_text("No object of this model has been saved")
    here = page.url

    save_groups_until_one_fires(page)
    save_group(page, "day")
    page.goto(here)
    rows = page.get_by_role("table", name="Changes, the latest first").locator("tbody tr")
    expect(rows.nth(0)).to_contain_text('the condition does not hold: name != "day"')
    expect(rows.nth(1)).to_contain_text("fired")
    rows.nth(1).get_by_role("link").click()
    expect(page.locator("h1")).to_contain_text("Succeeded", timeout=PATIENCE)
    expect(page.locator("main")).to_contain_text("cleanup_expired")
    assert page.evaluate("window.violations") == []
    assert Trigger.objects.get().condition == 'name != "day"'


def save_groups_until_one_fires(page: Page) -> None:
    """An edit is in effect within two seconds: a save before that is judged by what was there before."""
    numbers = itertools.count(1)

    def fired() -> bool:
        save_group(page, f"night {next(numbers)}")
        return Firing.objects.filter(outcome=Firing.Outcome.FIRED).exists()

    eventually(fired, 30)


def save_group(page: Page, name: str) -> None:
    page.goto("/admin/auth/group/add/")
    page.get_by_label("Name").fill(name)
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator(".success")).to_contain_text(name)
