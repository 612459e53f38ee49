"""Every page there is, over a record in which each has something to show.

The addresses come from the table in tests/test_authorise.py, which an address
must be in: a new page is looked at by what uses this, without a word here.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from django.utils import timezone

from dashboard import moments
from tests.seed import seed
from tests.setups import much_is_ill
from tests.test_authorise import PAGES, Things, address_of

# Not pages: a socket, a download, what programs read, and what one comes to only when signed out.
NO_PAGES = {"live", "job-result", "metrics", "healthz", "readyz", "audit-export", "sign-in"}
# The same pages with other things to show: found, not found, empty, missing.
OTHER_SIDES = (
    "/jobs/?state=failed",
    "/jobs/?state=revoked&queue=nowhere",
    "/jobs/?state=nonsense",
    "/jobs/b7e4c1d2-58f0-4c7e-9d1b-3a60e2f9c814/",
    "/jobs/77c0e1ab-0000-4000-8000-000000000001/",
    "/jobs/missing/",
    "/dead/?task=nowhere",
    "/find/?q=sync",
    "/find/?q=nothing-of-that-name",
    "/nothing/here/",
)
PLACES_OF_THE_PAST = ("/", "/queues/", "/queues/high/", "/workers/")


def a_full_record(now: datetime) -> None:
    """A day of a shop with failures, and a setup in which much is ill, beside what `things` are there."""
    seed(now)
    much_is_ill(now)


def every_page(things: Things) -> Iterator[str]:
    """The addresses of all pages that can be looked at."""
    for name, page in PAGES.items():
        if page.readers is not None and name not in NO_PAGES:
            yield address_of(name, things)
    yield from OTHER_SIDES
    yield from the_past(timezone.now())


def the_past(now: datetime) -> Iterator[str]:
    """Pages as they were: at a moment, over spans long and short, and what nobody can show."""
    at, *ends = (moments.field(now - timedelta(minutes=minutes)) for minutes in (5, 30, 5, 20 * 60))
    yield from (f"{place}?since={ends[0]}&until={ends[1]}" for place in PLACES_OF_THE_PAST)
    yield f"/?since={ends[2]}&until={ends[1]}"
    yield f"/?at={at}"
    yield "/?since=yesterday"
    yield f"/jobs/?since={ends[0]}&until={ends[1]}"
