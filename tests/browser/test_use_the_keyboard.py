"""Everything by keys: the sheet, going to pages, lists, the palette; and Tab alone through each page."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.utils import timezone
from playwright.sync_api import Page, expect

from tests.every_page import a_full_record, every_page
from tests.seed import seed
from tests.test_authorise import Things, things  # noqa: F401 a fixture

Visit = Callable[..., Page]
FOCUSED = "document.activeElement.textContent.trim()"
# What has the focus, by what it is called: a page that asks for itself anew has other elements.
CALLED = """const called = (one) => [one.tagName, one.getAttribute("href") ?? one.name ?? "",
    one.ariaLabel ?? one.textContent.trim()].join(" ").slice(0, 120);"""
STOP = f"""() => {{
    {CALLED}
    const element = document.activeElement;
    if (element === document.body) return null;
    const whole = element.closest("label") ?? element, place = whole.getBoundingClientRect();
    const styles = [element, whole, element.closest("form") ?? whole].map((one) => getComputedStyle(one));
    return {{
        called: called(element),
        marked: styles.some((one) => one.outlineStyle !== "none" && parseFloat(one.outlineWidth) > 0
            || one.boxShadow !== "none"),
        shown: place.width > 0 && place.bottom > 0 && place.top < innerHeight
            && place.right > 0 && place.left < innerWidth,
    }};
}}"""
ACTS = f"""() => {{
    {CALLED}
    const acts = document.querySelectorAll(
        "main :is(.head, .verdict, form.sure) :is(a[href], button, input:not([type=hidden], [type=radio]))");
    return [...acts].filter((act) => act.checkVisibility()).map(called);
}}"""
# Side and bar, and how many stops are enough for any page.
AROUND, MOST_STOPS = 30, 300


def test_keys_go_everywhere_through_lists_and_into_the_palette(visit: Visit) -> None:
    seed(timezone.now())
    page = visit("/jobs/")
    page.keyboard.type("gq")
    page.wait_for_url("**/queues/")
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("k")
    chosen = page.evaluate(FOCUSED)
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/queues/{chosen}/")

    page.keyboard.type("gj")
    page.wait_for_url("**/jobs/")
    for key in "jjx":
        page.keyboard.press(key)
    expect(page.locator("#jobs-table tbody tr").nth(1).locator(".pick input")).to_be_checked()
    expect(page.get_by_role("button", name="Retry…")).to_be_visible()

    page.keyboard.press("Control+k")
    box, options = page.locator("#palette input"), page.locator("#palette [role=option]")
    expect(box).to_be_focused()
    expect(options.first).to_contain_text("Run a task")
    page.keyboard.type("hig")
    expect(options).to_have_count(2)
    expect(options.first).to_contain_text("high")
    page.keyboard.press("ArrowDown")
    expect(options.last).to_have_attribute("aria-selected", "true")
    assert box.get_attribute("aria-activedescendant") == options.last.get_attribute("id")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    page.wait_for_url("**/queues/high/")
    assert page.evaluate("window.violations") == []


@pytest.mark.slow
def test_what_is_typed_stays_where_it_is_typed(visit: Visit) -> None:
    seed(timezone.now())
    page = visit("/find/")
    page.keyboard.press("/")
    page.keyboard.type("gj?x/")
    expect(page.locator("#find-q")).to_have_value("gj?x/")
    expect(page.locator("dialog[open]")).to_have_count(0)
    page.goto("/jobs/")
    page.get_by_label("State").focus()
    page.keyboard.type("gq")
    page.get_by_role("link", name="Run a task").focus()
    page.keyboard.press("Alt+g")
    page.keyboard.press("q")
    expect(page.get_by_role("heading", level=1)).to_have_text("Jobs")


@pytest.mark.slow
def test_single_keys_can_be_switched_off_and_stay_off(visit: Visit) -> None:
    page = visit("/jobs/")
    page.keyboard.press("?")
    sheet = page.get_by_role("dialog", name="Keys")
    expect(sheet).to_be_visible()
    sheet.get_by_role("checkbox").uncheck()
    page.keyboard.press("Escape")
    expect(sheet).to_be_hidden()
    page.reload()
    for keys in ("?", "/", "g", "q"):
        page.keyboard.press(keys)
    expect(page.locator("dialog[open]")).to_have_count(0)
    expect(page.get_by_role("heading", level=1)).to_have_text("Jobs")
    page.keyboard.press("Control+k")
    expect(page.get_by_role("dialog", name="Find")).to_be_visible()
    page.keyboard.press("Escape")
    page.locator(".account .who").click()
    page.get_by_role("button", name="Keys").click()
    expect(sheet.get_by_role("checkbox")).not_to_be_checked()


@pytest.mark.slow
def test_the_palette_does_what_the_page_can_do_and_gives_the_focus_back(visit: Visit) -> None:
    job = seed(timezone.now(), jobs=3)[-2]
    page = visit(f"/jobs/{job.task_id}/")
    page.get_by_role("link", name="Edit and re-run").focus()
    page.keyboard.press("/")
    page.keyboard.type("zzzz")
    expect(page.locator("#palette [role=status]")).to_have_text("Nothing of that name.")
    page.keyboard.press("Escape")
    expect(page.get_by_role("link", name="Edit and re-run")).to_be_focused()
    page.locator(".finder").click()
    page.locator("#palette input").fill("edit")
    expect(page.locator("#palette [role=option]").first).to_contain_text("This page")
    page.keyboard.press("Enter")
    page.wait_for_url("**/rerun/")
    page.goto("/")
    page.route("**/find/*", lambda route: route.abort())
    page.keyboard.press("/")
    expect(page.locator("#palette [role=status]")).to_contain_text("No answer")


@pytest.mark.slow
def test_tab_alone_reaches_every_action_of_every_page_and_is_always_seen(
    visit: Visit,
    things: Things,  # noqa: F811
) -> None:
    a_full_record(timezone.now())
    page = visit()
    faults: list[str] = []
    for address in every_page(things):
        page.goto(address)
        faults += [f"{address}: {fault}" for fault in faults_by_tab(page)]
    assert faults == [], "\n".join(faults)


def faults_by_tab(page: Page) -> list[str]:
    """What Tab, pressed from the top on, doesn't show or reach."""
    found: list[str] = []
    reached: set[str] = set()
    for number in range(MOST_STOPS):
        page.keyboard.press("Tab")
        stop = page.evaluate(STOP)
        if stop is None or (number > AROUND and reached.issuperset(page.evaluate(ACTS))):
            break
        reached.add(stop["called"])
        if number == 0 and "#main" not in stop["called"] and page.locator(".skip").count():
            found.append("the way past the side is not first")
        found += [f"not {what}: {stop['called']}" for what in ("marked", "shown") if not stop[what]]
    return found + [f"not reached: {act}" for act in page.evaluate(ACTS) if act not in reached]
