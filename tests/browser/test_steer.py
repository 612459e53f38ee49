"""Pausing a queue and growing a pool as a person does it: the pages follow what workers confirm."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.harness import Installation
from tests.steering import known, reads


def test_a_pause_is_seen_to_take_effect_and_to_end(
    installation: Installation, visit: Callable[..., Page]
) -> None:
    installation.monitor()
    installation.worker("high,low")
    name = known("test").name
    page = visit("/queues/high/")
    page.get_by_role("link", name="Pause high").click()
    page.get_by_label("Reason").fill("partner <b>API</b> down")
    page.get_by_role("button", name="Pause it").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Paused by ops")
    expect(page.locator(".lead")).to_contain_text("The one worker that read it has stopped.", timeout=20_000)
    expect(page.locator(".lead")).to_contain_text("“partner <b>API</b> down”")
    assert reads(name) == {"low"}

    page.get_by_role("link", name="Resume high").click()
    page.get_by_role("button", name="Resume it").click()
    expect(page.get_by_role("link", name="Pause high")).to_be_visible(timeout=20_000)
    expect(page.locator(".lead")).to_have_text("Nothing waits.", timeout=20_000)
    assert reads(name) == {"high", "low"}
    assert page.evaluate("window.violations") == []


@pytest.mark.slow
def test_a_pool_is_seen_to_grow(installation: Installation, visit: Callable[..., Page]) -> None:
    installation.monitor()
    installation.worker("low", slots=1)
    page = visit(f"/workers/{known('test').name}/")
    page.get_by_label("Slots").fill("2")
    page.get_by_role("button", name="Grow").click()
    expect(page.locator(".facts")).to_contain_text("of 3 slots", timeout=20_000)
    expect(page.locator("#actions")).to_contain_text("worker.grow")
    assert page.evaluate("window.violations") == []
