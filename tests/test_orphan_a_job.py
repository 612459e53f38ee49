"""A worker is killed while it runs a job: what is told of the job until somebody takes it again."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from jobs import live
from jobs.models import Cluster, Job, State
from tests import tasks
from tests.harness import Installation, eventually
from tests.steering import known
from tests.working import lines

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]
# A minute of silence, two looks, and a machine that is busy.
TOLD_WITHIN = 200.0


def told() -> list[dict[str, Any]]:
    """The rows of orphaned jobs on the overview."""
    needs = live.overview(Cluster.DEFAULT_ID, "all", datetime.now(UTC))["needs"]
    return [row for row in needs["rows"] if row["what"] == "orphaned"]


def let_the_record_begin() -> None:
    """What this process told in earlier tests is missing in this record, and nothing is told of a job that
    was taken before the last missing event: have the record see that first."""
    first = tasks.add.delay(1, 2).id
    eventually(lambda: Job.objects.filter(task_id=first, published_at__isnull=False).exists())


def test_a_job_of_a_worker_that_was_killed_and_came_back_is_told_as_orphaned(
    installation: Installation, tmp_path: Path, visitor: Client
) -> None:
    pid, done = tmp_path / "pid", tmp_path / "done"
    installation.monitor()
    killed = installation.worker(name="suite", VISIBILITY_TIMEOUT="7200")
    known("suite")
    let_the_record_begin()
    task_id = tasks.tell_pid_and_wait.delay(str(pid), str(done)).id
    eventually(lambda: lines(pid), message="it runs")
    eventually(lambda: Job.objects.filter(task_id=task_id, state=State.RUNNING).exists())
    job = Job.objects.get(task_id=task_id)
    assert live.job(job, "all", datetime.now(UTC))["adrift"] is None

    killed.kill()
    installation.worker(name="suite", VISIBILITY_TIMEOUT="7200")
    (row,) = eventually(told, TOLD_WITHIN, "it is told")

    assert (row["name"], row["facts"]["value"], row["oldest"]) == (job.worker, 1, job.pk)
    assert row["facts"]["next"] == "again"
    assert job.received_at is not None
    assert row["facts"]["again_at"] == pytest.approx(job.received_at.timestamp() + 7_200)
    assert b"the broker hands it out again about" in visitor.get(f"/jobs/{task_id}/").content
