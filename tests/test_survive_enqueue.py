"""Commit, rollback, SIGKILL: no job without its row, no row without its job, and one effect each."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest
from django.contrib.auth.models import User

from jobs.models import Outgoing
from tests.harness import Installation, eventually
from tests.harness.processes import python
from tests.working import lines, worker

ROUNDS = int(os.environ.get("ROUNDS", "200"))


@pytest.mark.slow
@pytest.mark.timeout(1_200)
def test_each_committed_row_has_its_job_and_each_job_its_row(
    installation: Installation, tmp_path: Path
) -> None:
    ran = tmp_path / "ran"
    installation.monitor()
    worker(installation, slots=2)

    deaths = play(installation, ran)
    judge(ran, deaths)


def judge(ran: Path, deaths: int, rounds: int = ROUNDS) -> None:
    """What must hold once all rounds are over."""
    committed = {user.username for user in User.objects.all()}
    eventually(lambda: not Outgoing.objects.exists(), timeout=60, message="the outbox is empty")
    eventually(lambda: set(lines(ran)) >= committed, timeout=60, message="each committed job ran")
    assert Counter(lines(ran)) == Counter(committed), "none that was rolled back, none twice"
    assert deaths > rounds / 50
    assert 0.5 * rounds < len(committed) < 0.9 * rounds


def play(installation: Installation, ran: Path, rounds: int = ROUNDS) -> int:
    """All rounds, with a new program for each that died; how many did."""
    first, deaths = 0, 0
    while first < rounds:
        argv = python("-m", "tests.enqueue_rounds", str(first), str(rounds), str(ran))
        program = installation.start("enqueue-rounds", argv)
        code = program.wait(timeout=300)
        played = [
            line.split()[0] for line in program.text().splitlines() if line[:1].isdigit() and " " in line
        ]
        assert code in (0, -9), program.text()
        first = int(played[-1]) + 1
        deaths += code == -9
    return deaths
