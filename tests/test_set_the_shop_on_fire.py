"""Known ways to burn: each ends by itself, and puts right what it did."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django_celery_beat.models import PeriodicTask

from tests.harness import Installation
from workers.amqp import collecting
from workers.demo import burning, catalogue, fires, tasks
from workers.scheduler import problem


@pytest.fixture(autouse=True)
def no_fires(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fires, "folder", lambda: tmp_path)


def test_every_third_valuation_fails_while_it_burns(db: None) -> None:
    catalogue.seed_catalogue()
    with burning.failures(60):
        with pytest.raises(KeyError, match="currency"):
            tasks.process_valuation(3)
        assert tasks.process_valuation(4)["value"] > 0
    assert tasks.process_valuation(3)["value"] > 0


def test_a_fire_whose_command_was_killed_ends_when_it_was_to_end() -> None:
    fires.light("slow", time.time() + 60)
    assert fires.alight("slow")
    fires.light("slow", time.time() - 1)
    assert not fires.alight("slow")


def test_two_fires_burn_beside_each_other() -> None:
    with burning.failures(60):
        with burning.slow(60):
            assert fires.alight("failures")
            assert fires.alight("slow")
        assert fires.alight("failures")
        assert not fires.alight("slow")


def test_the_schedule_that_burns_can_t_be_sent_and_goes_again(db: None) -> None:
    with burning.broken_schedule(60):
        assert problem(PeriodicTask.objects.get(name=burning.SCHEDULE))
    assert not PeriodicTask.objects.filter(name=burning.SCHEDULE).exists()


def test_a_backlog_is_bounded_and_expires() -> None:
    with collecting() as sent, burning.backlog(1.0) as said:
        assert said.startswith("8 jobs")
    assert len(sent) == 8


@pytest.mark.parametrize("minutes", ["0", "-1", "61", "nan"])
def test_a_fire_without_an_end_is_refused(minutes: str) -> None:
    with pytest.raises(CommandError, match="at most 60"):
        call_command("demo", "--burn", "slow", "--minutes", minutes)


def test_without_the_demo_there_is_nothing_to_burn(installation: Installation) -> None:
    process = installation.manage("demo", "--burn", "slow", DEMO="0")
    assert process.wait() != 0
    assert "Unknown command" in process.text()
