"""A page comes over a telephone's line, too: all that it transfers to somebody who was never here before."""

from __future__ import annotations

import pytest
from django.utils import timezone

from tests.browser.chromium import Browser
from tests.browser.conftest import Site, sign_in
from tests.browser.weight import transferred
from tests.seed import seed

# The bound of the overview, and no page of ours should need more.
MOST = 250_000
PAGES = ("/", "/jobs/", "/queues/", "/workers/", "/schedules/", "/alerts/")


@pytest.mark.slow
def test_nothing_transfers_more_than_250_kilobytes(chromium: Browser, site: Site) -> None:
    seed(timezone.now())
    with chromium.visitor(base_url=site.address) as context:
        sign_in(context.new_page())
        cookies = context.cookies()
    weights = {}
    for path in PAGES:
        with chromium.visitor(storage_state={"cookies": cookies, "origins": []}) as fresh:
            weights[path] = transferred(fresh, site.address + path)
    assert {"document", "stylesheet", "script"} <= set(weights["/"])
    assert {path: weight for path, weight in weights.items() if weight.total() > MOST} == {}
