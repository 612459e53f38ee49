"""From a press of a button to what a worker did, seen by somebody who only looks at the page."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from jobs.models import Job
from nightdesk.recorder import Recorder
from tests import tasks
from tests.harness import Installation, eventually

Visit = Callable[..., Page]
PATIENCE = 60_000


@pytest.mark.slow
def test_a_job_is_revoked_run_edited_and_retried_from_its_page(
    installation: Installation, visit: Visit, tmp_path: Path, published_from_here: Recorder
) -> None:
    installation.monitor()
    ran = tmp_path / "ran"
    sent = tasks.note.delay(str(ran), "first")
    published_from_here.drain()
    eventually(lambda: Job.objects.filter(task_id=sent.id).exists(), 60)
    page = visit(f"/jobs/{sent.id}/")
    page.get_by_role("link", name="Revoke").click()
    page.get_by_label("Reason").fill("the wrong customer")
    page.get_by_role("button", name="Revoke this job").click()
    expect(page.locator("#job")).to_contain_text("Workers know", timeout=PATIENCE)
    expect(page.locator("h1")).to_contain_text("Queued")
    installation.worker()
    expect(page.locator("h1")).to_contain_text("Revoked", timeout=PATIENCE)
    expect(page.locator("#actions")).to_contain_text("the wrong customer")
    assert not ran.exists()
    page.get_by_role("link", name="Edit and re-run").click()
    page.get_by_label("kwargs").fill("{}")
    page.get_by_label("args", exact=True).fill(f'["{ran}", "edited"]')
    page.get_by_role("button", name="Show the difference").click()
    expect(page.locator(".diff-new")).to_contain_text("edited")
    page.get_by_role("button", name="Run it").click()
    page.get_by_text("Retried as").wait_for(timeout=PATIENCE)
    page.locator("dl.facts a", has_text=re.compile("^[0-9a-f-]{36}$")).first.click()
    expect(page.locator("h1")).to_contain_text("Succeeded", timeout=PATIENCE)
    page.get_by_role("link", name="Run again").click()
    page.get_by_role("button", name="Run it again").click()
    eventually(lambda: ran.exists() and ran.read_text() == "edited\nedited\n", 60)
