"""All that the overview transfers to a browser that was never here before."""

from __future__ import annotations

from contextlib import ExitStack

from benchmarks import viewer
from benchmarks.databases import SQLITE
from benchmarks.places import place
from benchmarks.report import Row
from tests.browser.chromium import open_browser
from tests.browser.weight import transferred

JOBS = 10_000


def measure() -> list[Row]:
    """Rows: bytes over the wire, by kind and in all, as Chromium counts them."""
    with ExitStack() as stack:
        here = stack.enter_context(place(SQLITE))
        here.run("manage.py", "fabricate", "--jobs", str(JOBS))
        address = here.web(stack)
        browser = stack.enter_context(open_browser())
        context = stack.enter_context(browser.visitor())
        for cookie in viewer.sign_in(address).split("; "):
            name, _, value = cookie.partition("=")
            context.add_cookies([{"name": name, "value": value, "url": address}])
        weight = transferred(context, address + "/")
    rows = [Row(f"the overview, cold: {kind}", size / 1000, "KB") for kind, size in weight.most_common()]
    return [*rows, Row("the overview, cold, all of it", weight.total() / 1000, "KB", goal="<= 250")]
