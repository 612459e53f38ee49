"""A channel is entered in the admin, tried out on its page, and its address never comes back."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.harness import Installation
from tests.receivers import mail

Visit = Callable[..., Page]


@pytest.mark.slow
def test_a_channel_is_tried_out_by_a_button(visit: Visit, installation: Installation) -> None:
    with mail() as received:
        installation.monitor(EMAIL_URL=f"smtp://127.0.0.1:{received.port}")
        page = visit("/admin/nightdesk_jobs/channel/add/")
        page.get_by_label("Name").fill("night desk")
        page.get_by_label("Address").fill("ana@example.com")
        page.get_by_role("button", name="Save", exact=True).click()
        page.goto("/alerts/channels/")
        row = page.get_by_role("row", name="night desk e-mail")
        expect(row).to_contain_text("a…@example.com")
        expect(row).to_contain_text("Not tried")
        row.get_by_role("button", name="Try it out").click()
        expect(page.get_by_text("A message is on its way")).to_be_visible()
        expect(row).to_contain_text("Works", timeout=60_000)
        expect(page.get_by_text("Delivered")).to_be_visible()
        assert "ana@example.com" not in page.content()
    assert "Subject: [TEST] A message from Nightdesk" in received.mails[0]
