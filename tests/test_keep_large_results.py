"""A large result is stored apart, read as any other, and downloaded by who may see it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from celery import chord, states
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.utils import timezone
from django_celery_results.models import TaskResult

from jobs.models import Job
from jobs.store import claims
from tests import promises
from tests.harness import Installation, eventually
from tests.working import worker
from workers import large
from workers.app import app
from workers.models import Claim, LargeResult
from workers.results import ResultBackend
from workers.running import Run, current

LARGE = ["x" * 100] * 5_000


@pytest.fixture
def backend() -> ResultBackend:
    return ResultBackend(app=app)


@pytest.mark.django_db
@pytest.mark.parametrize("where", ["database", "storage"])
def test_what_is_stored_apart_is_read_as_any_other_and_forgotten_with_it(
    backend: ResultBackend, settings: Any, tmp_path: Path, where: str
) -> None:
    settings.LARGE_RESULTS, settings.MEDIA_ROOT = where, tmp_path
    backend.store_result("job", LARGE, states.SUCCESS)
    backend.store_result("small", ["x"], states.SUCCESS)
    row = LargeResult.objects.get()
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert (row.content is None, len(files)) == ((True, 1) if where == "storage" else (False, 0))
    assert len(TaskResult.objects.get(task_id="job").result) < 100
    assert row.size > 500_000
    assert backend.get_result("job") == LARGE
    assert backend._outcomes(["job", "small"])["job"]["result"] == LARGE

    LargeResult.objects.update(at=timezone.now() - timedelta(seconds=backend.expires + 60))
    backend.cleanup()
    assert not LargeResult.objects.exists()
    assert not [file for file in tmp_path.rglob("*") if file.is_file()]


def test_a_large_result_of_a_job_feeds_a_chord_and_is_downloaded(
    installation: Installation, ops: User, client: Client
) -> None:
    worker(installation, tasks="tests.promises")
    installation.monitor()
    total = chord([promises.large_result.s(400_000)])(promises.length_of.s())
    assert total.get(timeout=20) == 1
    eventually(lambda: Job.objects.filter(state="succeeded").count() == 2)
    job = Job.objects.get(task="tests.promises.large_result")

    client.force_login(ops)
    page = client.get(f"/jobs/{job.task_id}/").content.decode()
    assert "Stored apart" in page
    assert f"/jobs/~{job.pk}/result/" in page
    answer = client.get(f"/jobs/~{job.pk}/result/")
    assert answer.json() == ["x" * 100] * 4_000
    assert "attachment" in answer["Content-Disposition"]
    other = Job.objects.exclude(pk=job.pk).get()
    assert client.get(f"/jobs/~{other.pk}/result/").status_code == 404


@pytest.mark.django_db
def test_whoever_may_not_see_what_jobs_carry_downloads_nothing(
    backend: ResultBackend, client: Client
) -> None:
    job = Job.objects.create(task_id="job", state="succeeded", seen_at=timezone.now())
    backend.store_result("job", LARGE, states.SUCCESS)
    address = f"/jobs/~{job.pk}/result/"
    assert client.get(address).status_code == 302
    user = User.objects.create_user("viewer", password="x")
    client.force_login(user)
    assert client.get(address).status_code in (403, 404)
    user.user_permissions.add(Permission.objects.get(codename="view_record"))
    assert client.get(address).status_code == 403
    assert "Stored apart" not in client.get("/jobs/job/").content.decode()


@pytest.fixture
def run() -> Iterator[Run]:
    """The run at hand, by the claim that is its own."""
    run = Run(
        promises.large_result, SimpleNamespace(id="job", retries=0, replaced_task_nesting=0), token="mine"
    )
    claims.claim(Claim, "job", 0, "mine", 60.0, "default")
    token = current.set(run)
    yield run
    current.reset(token)


@pytest.mark.django_db
def test_who_has_lost_its_claim_does_not_replace_what_is_stored_apart(
    backend: ResultBackend, run: Run
) -> None:
    Claim.objects.update(token="other")
    run.token = "other"
    backend.store_result("job", LARGE, states.SUCCESS)
    run.token = "mine"
    backend.store_result("job", [*LARGE, "late"], states.SUCCESS)
    assert run.lost
    assert backend.get_result("job") == LARGE


@pytest.mark.django_db
def test_a_result_that_can_not_be_stored_apart_leaves_its_job_to_be_done(
    backend: ResultBackend, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(task_id: str, content: str) -> None:
        raise PermissionError("the disk is read-only")

    monkeypatch.setattr(large, "put_apart", refuse)
    with pytest.raises(PermissionError):
        backend.store_result("job", LARGE, states.SUCCESS)
    assert (run.ended, Claim.objects.get().done, TaskResult.objects.exists()) == (False, False, False)
