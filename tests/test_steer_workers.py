"""Orders to workers, by real workers: each is confirmed by what the worker itself then says."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User

from jobs.models.people import Outcome
from jobs.perform import Actor, perform
from tests.harness import Installation, Process, eventually
from tests.steering import asked, done, inspect, known, reads, settled
from workers.app import app
from workers.commands import workers as commands


def processes(worker: str) -> int:
    stats = inspect("stats", worker)
    return len(stats["pool"]["processes"]) if stats else 0


def test_a_pool_grows_and_shrinks(installation: Installation, monitor: Process, ops: User) -> None:
    installation.worker(slots=2)
    name = known("test").name
    done(ops, commands.Grow(name, by=2))
    eventually(lambda: processes(name) == 4, message="four processes")
    eventually(lambda: known("test").slots == 4, message="the record says four")
    done(ops, commands.Shrink(name, by=1))
    eventually(lambda: processes(name) == 3, message="three processes")


@pytest.mark.slow
def test_the_range_of_a_worker_that_scales_itself_is_set(
    installation: Installation, monitor: Process, ops: User
) -> None:
    installation.worker(options=["--autoscale=2,1"])
    name = known("test").name
    eventually(lambda: processes(name) == 1, message="one process is enough")
    done(ops, commands.Autoscale(name, least=3, most=4))
    eventually(lambda: processes(name) == 3, message="three are the least now")


@pytest.mark.slow
def test_a_worker_that_does_not_scale_itself_has_no_range(
    installation: Installation, monitor: Process, ops: User
) -> None:
    installation.worker()
    action = perform(Actor(ops, "page"), commands.Autoscale(known("test").name, least=1, most=4))
    assert action.refusal or settled(action).outcome == Outcome.FAILED


@pytest.mark.slow
def test_a_pool_is_restarted(installation: Installation, monitor: Process, ops: User) -> None:
    installation.worker(slots=1)
    name = known("test").name
    before = inspect("stats", name)["pool"]["processes"]
    done(ops, commands.RestartPool(name))
    eventually(lambda: (inspect("stats", name) or {}).get("pool", {}).get("processes") not in (None, before))


@pytest.mark.slow
def test_consumers_are_added_and_cancelled(installation: Installation, monitor: Process, ops: User) -> None:
    installation.worker("default")
    name = known("test").name
    done(ops, commands.AddConsumer(name, queue="low"))
    eventually(lambda: reads(name) == {"default", "low"})
    eventually(lambda: known("test").queues == "default,low")
    done(ops, commands.CancelConsumer(name, queue="default"))
    eventually(lambda: reads(name) == {"low"})


@pytest.mark.slow
def test_limits_of_a_task_are_set(installation: Installation, monitor: Process, ops: User) -> None:
    installation.worker()
    name = known("test").name
    done(ops, commands.RateLimit(name, task="tests.tasks.add", rate="7/m"))
    done(ops, commands.TimeLimits(name, task="tests.tasks.add", soft=5.0, hard=9.0))

    def told() -> str:
        said = app.control.inspect(destination=[name], timeout=2).registered("rate_limit", "time_limit")
        return next(line for line in (said or {})[name] if line.startswith("tests.tasks.add "))

    assert told() == "tests.tasks.add [rate_limit=7/m time_limit=9.0]"
    refused = settled(asked(ops, commands.RateLimit(name, task="no.such.task", rate="7/m")))
    assert (refused.outcome, refused.detail) == (Outcome.FAILED, "unknown task")


@pytest.mark.slow
def test_a_worker_leaves_when_told(installation: Installation, monitor: Process, ops: User) -> None:
    process = installation.worker()
    action = done(ops, commands.Shutdown(known("test").name))
    assert action.detail == "It has left."
    assert process.wait() == 0


@pytest.mark.slow
def test_events_that_a_worker_was_started_with_can_not_be_switched_off(
    installation: Installation, monitor: Process, ops: User
) -> None:
    installation.worker()
    name = known("test").name
    action = settled(asked(ops, commands.Events(name, on=False)))
    assert action.outcome == Outcome.FAILED
    assert "-E" in action.detail
    done(ops, commands.Events(name, on=True))
