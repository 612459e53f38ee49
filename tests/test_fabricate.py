"""A fabricated record: as any other, only that nothing of it happened."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from jobs import models
from jobs.fabricate import erase, fabricate
from tests.test_record_events import assert_counters_equal_a_recount

NOW = datetime(2026, 11, 22, 14, 20, 30, tzinfo=UTC)
pytestmark = pytest.mark.django_db(transaction=True)


def told() -> list[tuple[Any, ...]]:
    """What is told of each job and attempt."""
    jobs = models.Job.objects.order_by("id").values_list(
        "task_id", "state", "published_at", "ended_at", "total"
    )
    attempts = models.Attempt.objects.order_by("job_id", "retries").values_list(
        "job_id", "state", "started_at"
    )
    return [*jobs, *attempts]


def test_its_buckets_equal_a_recount_in_every_tier() -> None:
    fabricate(1_500, days=2, seed=7, now=NOW)
    assert models.Job.objects.count() == 1_500
    assert_counters_equal_a_recount()


def test_it_holds_what_a_record_holds() -> None:
    fabricate(3_000, days=1, seed=7, now=NOW)
    states = set(models.Job.objects.values_list("state", flat=True))
    assert {"succeeded", "failed"} < states
    not_succeeded = models.Job.objects.exclude(state="succeeded").count()
    assert models.Standing.objects.count() == not_succeeded > 0
    assert models.Payload.objects.count() == 3_000
    assert models.Attempt.objects.filter(retries__gt=0).exists()
    assert models.Worker.objects.count() == 6
    assert models.QueueSample.objects.filter(at__gte=NOW - timedelta(minutes=1)).count() == 3 * 13


def test_jobs_are_numbered_as_they_came() -> None:
    fabricate(2_000, days=1, seed=7, now=NOW)
    hours = [
        at.replace(minute=0)
        for at in models.Job.objects.order_by("id").values_list("published_at", flat=True)
    ]
    assert [hour.hour for hour in hours] == [hour.hour for hour in sorted(hours)]
    assert NOW - timedelta(hours=25) < hours[0] < hours[-1] < NOW


def test_the_same_seed_gives_the_same_jobs() -> None:
    fabricate(300, days=1, seed=7, now=NOW)
    first = told()
    erase()
    fabricate(300, days=1, seed=7, now=NOW)
    assert told() == first
    erase()
    fabricate(300, days=1, seed=8, now=NOW)
    assert told() != first


def test_the_command_keeps_its_hands_off_a_record_that_is_not_empty() -> None:
    said = StringIO()
    call_command("fabricate", jobs=20, days=1, stdout=said)
    assert said.getvalue() == "fabricated 20 jobs of 1 days\n"
    with pytest.raises(CommandError, match="not empty; with --force"):
        call_command("fabricate", jobs=30, days=1)
    assert models.Job.objects.count() == 20
    call_command("fabricate", jobs=30, days=1, force=True, stdout=said)
    assert models.Job.objects.count() == 30
