"""Jobs that carry far too much pass a real worker and monitor, which live on, and so do those around."""

from __future__ import annotations

from pathlib import Path

import pytest
from celery.result import AsyncResult
from django.test import Client
from django.urls import reverse

from jobs.models import Gap, Job, Payload, Quarantine
from nightdesk.recorder import Recorder
from tests import giants
from tests.harness import Installation, Process, eventually
from tests.hostile import DEEP, TURNED
from tests.working import worker

pytestmark = pytest.mark.slow
PATIENCE = 240
MEGABYTE = 1_000_000
# What a page of a job may weigh, whatever the job carries; and what is kept of one, all texts together.
PAGE, KEPT = 250_000, 200_000
# What a monitor, which has some 100 MB itself, may need while giants pass: less than one of them.
ROOM = 40 * MEGABYTE
# How a page says that it does not show all.
SAID = {
    "arguments": "cut: too large to keep whole",
    "result": "Stored apart",
    "traceback": "characters left out",
    "deep result": "maximum recursion depth exceeded",
}


def memory(process: Process) -> int:
    """The most that a process has ever held, in bytes, as the kernel counts it."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


def ended(sent: list[AsyncResult[object]], monitor: Process) -> dict[str, Job]:
    """All of them, as soon as the record has each end."""
    ids = [one.id for one in sent]
    rows = Job.objects.filter(task_id__in=ids, state__in=("succeeded", "failed"))
    eventually(lambda: rows.count() == len(ids), PATIENCE, lambda: monitor.text()[-3000:], every=0.2)
    return {job.task_id: job for job in rows}


def assert_small(visitor: Client, job: Job) -> str:
    """The page of a job is there, and is no larger than it must be."""
    page = visitor.get(reverse("job-by-number", args=[job.pk]), follow=True)
    assert page.status_code == 200
    assert len(page.content) < PAGE
    return str(page.content.decode())


def kept(job: Job) -> int:
    """How many characters the record holds of it."""
    payload = Payload.objects.get(job=job)
    texts = [payload.args, payload.kwargs, payload.body, payload.result, payload.progress, job.exception]
    texts += [attempt.traceback for attempt in job.timeline.all()]
    return sum(len(text) for text in texts if text)


def test_giants_pass_through_and_those_around_are_recorded(
    installation: Installation, published_from_here: Recorder, visitor: Client
) -> None:
    monitor = installation.monitor()
    first = worker(installation, tasks="tests.giants")
    ended([giants.echo.delay("before")], monitor)
    usual = memory(monitor)

    sent = {
        "arguments": giants.take.delay("x" * (10 * MEGABYTE), more="y" * (10 * MEGABYTE)),
        "result": giants.give.delay(50 * MEGABYTE),
        "traceback": giants.fail_at_length.delay(1_000_000),
        "deep text": giants.echo.delay(DEEP),
        "deep result": giants.nest.delay(10_000),
        "progress": giants.tell_at_length.delay(10 * MEGABYTE),
        "turned": giants.echo.delay(TURNED * 10_000),
    }
    around = [giants.echo.delay(number) for number in range(20)]
    published_from_here.drain()
    jobs = ended([*sent.values(), *around], monitor)

    states = {what: jobs[one.id].state for what, one in sent.items()}
    assert states == {
        "arguments": "succeeded",
        "result": "succeeded",
        "traceback": "failed",
        "deep text": "succeeded",
        "deep result": "failed",
        "progress": "succeeded",
        "turned": "succeeded",
    }
    assert {jobs[one.id].state for one in around} == {"succeeded"}
    pages = {what: assert_small(visitor, jobs[one.id]) for what, one in sent.items()}
    assert {what for what, one in sent.items() if kept(jobs[one.id]) > KEPT} == set()
    assert {what for what, page in pages.items() if TURNED[0] in page} == set()
    for what, words in SAID.items():
        assert words in pages[what]
    assert (first.exit_code, monitor.exit_code) == (None, None)
    assert (Gap.objects.count(), Quarantine.objects.count()) == (0, 0)
    assert memory(monitor) - usual < ROOM
    # And what comes afterwards is as it ever was.
    ended([giants.echo.delay("after")], monitor)
    assert giants.give.AsyncResult(sent["result"].id).get(timeout=60) == "x" * (50 * MEGABYTE)
