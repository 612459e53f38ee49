"""`async def` tasks run on one event loop a process, in every pool."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest
from celery.exceptions import SoftTimeLimitExceeded

from tests import promises
from tests.harness import Installation, RedisServer, eventually
from tests.test_results import progress_of
from tests.working import lines, worker
from workers.loop import Loop

NUMBERS = [1, 2, 3]


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_coroutines_run_with_a_context_that_lasts_and_is_closed(
    installation: Installation, tmp_path: Path, pool: str
) -> None:
    running = worker(installation, slots=2, tasks="tests.promises", pool=pool)
    file = tmp_path / "file"
    jobs = [promises.gather.delay(str(file), NUMBERS) for _ in range(6)]
    told = [job.get(timeout=20) for job in jobs]
    assert [each["id"] for each in told] == [job.id for job in jobs]
    assert {tuple(each["doubled"]) for each in told} == {(2, 4, 6)}
    assert {(each["started"], each["same_thread"]) for each in told} == {(1, True)}
    assert promises.fetch.delay().get(timeout=20) == 1
    assert promises.count_people.delay().get(timeout=20) == 0

    assert running.stop() == 0
    assert sorted(lines(file)) == sorted(f"stopped {pid}" for pid in {each["pid"] for each in told})


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_a_coroutine_is_cancelled_at_its_soft_limit_and_clears_up(
    installation: Installation, tmp_path: Path, pool: str
) -> None:
    worker(installation, slots=2, tasks="tests.promises", pool=pool)
    endless = promises.never_ends.delay(str(tmp_path / "file"))
    orderly = promises.ends_when_cancelled.delay()
    with pytest.raises(SoftTimeLimitExceeded):
        endless.get(timeout=20)
    assert lines(tmp_path / "file") == ["cleared up"]
    assert orderly.get(timeout=20) == "in good order"


def test_a_coroutine_tells_how_far_it_is_without_waiting_for_the_database(
    installation: Installation, redis_server: RedisServer, tmp_path: Path
) -> None:
    worker(installation, tasks="tests.promises")
    job = promises.tell_from_a_coroutine.delay(str(tmp_path / "go"))
    told = eventually(lambda: progress_of(redis_server, job.id))
    assert told[-1] == ("PROGRESS", {"step": 2, "label": "second", "current": 1, "total": 2})
    (tmp_path / "go").touch()
    assert job.get(timeout=20) == "told"


def test_a_coroutine_that_wants_to_leave_ends_its_own_job_and_no_other() -> None:
    async def leave() -> None:
        sys.exit(3)

    async def leave_within() -> None:
        await asyncio.gather(leave())

    async def interrupt() -> None:
        raise KeyboardInterrupt

    async def answer() -> int:
        return 42

    loop = Loop()
    for coroutine, fault in ((leave, SystemExit), (leave_within, SystemExit), (interrupt, KeyboardInterrupt)):
        with pytest.raises(fault):
            loop.run(coroutine(), limit=5.0)
        assert loop.run(answer(), limit=5.0) == 42
    loop.stop()
