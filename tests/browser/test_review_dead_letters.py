"""A dead letter, seen on the pages alone: it comes, is sent again after the fix, and goes."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from jobs.models import DeadLetter, Job
from nightdesk.recorder import Recorder
from tests import tasks
from tests.harness import Installation, eventually
from tests.working import worker

Visit = Callable[..., Page]
PATIENCE = 60_000


@pytest.mark.slow
def test_a_job_that_no_worker_knows_is_seen_requeued_after_the_fix_and_gone(
    installation: Installation, visit: Visit, published_from_here: Recorder
) -> None:
    installation.monitor()
    page = visit("/")
    tally = page.locator(".side .tally")
    expect(tally).to_be_hidden()

    old = worker(installation, tasks="workers.tasks")
    sent = tasks.add.delay(1, 2)
    published_from_here.drain()
    expect(tally).to_have_text("1", timeout=PATIENCE)  # the overview follows its frames
    page.locator(".side").get_by_role("link", name="Dead letters").click()
    expect(page.locator("#dead tbody tr")).to_have_count(1)
    expect(page.locator("#dead")).to_contain_text("Unknown task")

    old.stop()
    worker(installation, tasks="tests.tasks")
    page.locator("#dead tbody .pick").click()
    page.get_by_role("button", name="Requeue…").click()
    page.get_by_label("Reason").fill("deployed")
    page.get_by_role("button", name="Requeue 1 letter").click()
    expect(page.locator("h1")).to_contain_text("Unknown task")
    expect(page.locator("#actions")).to_contain_text("deployed")
    page.get_by_role("link", name="Dead letters").first.click()
    expect(page.locator("#dead")).to_contain_text("Nothing is waiting here")
    expect(page.locator(".side .tally")).to_be_hidden()
    eventually(lambda: Job.objects.filter(retry_of=sent.id, state="succeeded").exists(), 60)
    assert DeadLetter.objects.get().settled == "requeued"
