"""PostgreSQL may crash under all that uses it: they come back, and no job is lost or counted twice."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.error import URLError
from urllib.request import Request, urlopen

import pytest
from django.db import connections
from django.db.models import Sum
from django_celery_results.models import TaskResult

from jobs.models import Attempt, Bucket, Gap, Job, Quarantine
from tests import tasks
from tests.harness import Installation, PostgresServer, eventually
from tests.working import worker

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(400),
    pytest.mark.skipif("connections['default'].vendor != 'postgresql'", reason="SQLite has no server"),
]

TOKEN = "only the suite knows"
JOBS_A_TIME = 40


def checks(address: str) -> dict[str, Any]:
    """What /readyz tells; empty while it does not answer in time."""
    request = Request(f"{address}/readyz", headers={"Authorization": f"Bearer {TOKEN}"})
    try:
        with urlopen(request, timeout=20) as answer:
            told = json.load(answer)
    except URLError as fault:
        told = json.load(fault) if hasattr(fault, "read") else {"checks": {}}
    found: dict[str, Any] = told["checks"]
    return found


def is_well(address: str, *names: str) -> Callable[[], bool]:
    return lambda: all(checks(address).get(name, {}).get("ok") is True for name in names)


@contextmanager
def crashed(server: PostgresServer) -> Iterator[None]:
    """The time from a crash to the next start."""
    server.kill()
    connections.close_all()
    yield
    server.start()


def test_a_crash_of_the_database_costs_no_job(
    installation: Installation, postgres_server: PostgresServer
) -> None:
    monitor = installation.monitor()
    installation.beat()
    worker(installation, slots=2)
    _, address = installation.web(READY_TOKEN=TOKEN)
    eventually(is_well(address, "database", "monitor", "beat"), 40)
    published = publish()
    eventually(lambda: ended() > JOBS_A_TIME / 4, 40)

    for _ in range(3):
        published |= publish()
        with crashed(postgres_server):
            published |= publish()
            eventually(lambda: checks(address).get("database", {}).get("ok") is False, 60)
        eventually(is_well(address, "database", "monitor", "beat"), 60, monitor.text)

    eventually(lambda: ended() == len(published), 120, lambda: f"{len(published)}, but {still_open()}")
    assert set(Job.objects.filter(state="succeeded").values_list("task_id", flat=True)) == published
    assert set(TaskResult.objects.filter(status="SUCCESS").values_list("task_id", flat=True)) >= published
    # What came to a worker while nobody could be asked was put aside, and came back: it was not run.
    assert set(Attempt.objects.exclude(state="succeeded").values_list("state", flat=True)) <= {"queued"}
    assert Attempt.objects.filter(state="succeeded").count() == len(published)
    assert counted("succeeded") == counted("published") == len(published)
    assert (Gap.objects.count(), Quarantine.objects.count()) == (0, 0)


def publish() -> set[str]:
    return {tasks.add.delay(number, 1).id for number in range(JOBS_A_TIME)}


def ended() -> int:
    return Job.objects.exclude(ended_at=None).count()


def still_open() -> list[tuple[Any, ...]]:
    return list(Job.objects.filter(ended_at=None).values_list("task_id", "state", "seen_at", "received_at"))


def counted(name: str) -> int:
    minutes = Bucket.objects.filter(tier=Bucket.MINUTE, task="tests.tasks.add")
    total: int | None = minutes.aggregate(total=Sum(name))["total"]
    return total or 0
