"""How many jobs of a kind run at once, and how many start in a while: over all workers.

    @app.task(concurrency=3, concurrency_key=lambda shop, **_: shop, rate="100/m")

A job that has to wait is put aside, which is no retry; no slot of a pool is
held meanwhile. A slot in a line is a lease: that of a killed process ends.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from functools import cache
from typing import Any

import redis
from celery.utils.log import get_logger

from workers.brokers.aside import Aside, Line
from workers.putting_back import PutBack
from workers.running import Renewed, Run

logger = get_logger(__name__)

# A slot is held for so long without a sign of life, in seconds.
LEASE = 30.0
REDIS_AWAY = 5.0
# A wait so short is spent in the pool, in seconds.
SHORT = 0.2
# What a job that did not get a slot keeps of its turn in the rate, in seconds.
KEEPS_ITS_TURN = 86_400.0
SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}

Key = Callable[..., object]


def seconds_between(rate: str) -> float:
    """Seconds from one start to the next under a rate such as "100/m", "5/s" or "1/h"."""
    match = re.fullmatch(r"([1-9]\d{0,8})/([smhd])", rate.replace(" ", ""))
    if match is None:
        raise ValueError(f"rate is {rate!r}; it should be like 100/m, with s, m, h or d")
    return SECONDS[match[2]] / int(match[1])


def check(task: Any) -> None:
    """Raises ValueError for limits of a task that make no sense."""
    if task.rate is not None:
        seconds_between(task.rate)
    if task.concurrency is not None and task.concurrency < 1:
        raise ValueError(f"{task.name}: concurrency is {task.concurrency}; it should be at least 1")
    if task.burst < 1:
        raise ValueError(f"{task.name}: burst is {task.burst}; it should be at least 1")


def begin(run: Run, sleep: Callable[[float], None]) -> bool:
    """Wait for a turn and a slot; whether a slot was taken that has to be given back. Raises PutBack."""
    task = run.task
    if task.rate is None and task.concurrency is None:
        return False
    try:
        if task.rate is not None:
            _take_turn(run, sleep)
        return task.concurrency is not None and _take_slot(run)
    except redis.RedisError as fault:
        raise PutBack(f"limits can't be asked: {fault}", delay=REDIS_AWAY) from fault


def end(run: Run) -> None:
    """The job is over: its slot goes to the first in line."""
    if not run.line:
        return
    _held.discard(run)
    try:
        aside().leave(_line(run), run.task_id)
    except redis.RedisError as fault:  # the lease will end
        logger.warning("a slot in %s can't be given back: %s", run.line, fault)


def give_up(run: Run, took_slot: bool) -> None:
    """The job may not run after all: it holds nothing, and what another message of it has is left alone."""
    _held.discard(run)
    if took_slot:
        end(run)


def held() -> set[Run]:
    """The runs of this process that have a slot."""
    return _held.runs()


def _take_turn(run: Run, sleep: Callable[[float], None]) -> None:
    task = run.task
    wait = aside().ask(_bucket(run), run.task_id, seconds_between(task.rate), task.burst)
    if wait > SHORT:
        raise PutBack(f"not more than {task.rate}", delay=wait)
    if wait > 0:
        sleep(wait)


def _take_slot(run: Run) -> bool:
    line = _line(run)
    entered = aside().enter(line, run.task_id, LEASE)
    if not entered:
        if run.task.rate is not None:
            aside().reserve(_bucket(run), run.task_id, KEEPS_ITS_TURN)
        raise PutBack(f"not more than {line.slots} at once", line=line)
    run.line = line.name
    _held.add(run)
    return entered == 1


def _line(run: Run) -> Line:
    return Line(f"{run.task.name}{_key(run, 'concurrency_key')}", run.task.concurrency)


def _bucket(run: Run) -> str:
    return f"{run.task.name}{_key(run, 'rate_key')}"


def _key(run: Run, name: str) -> str:
    """What this job is counted with: `:key`, or nothing where all jobs of the task are."""
    function: Key | None = inspect.getattr_static(run.task, name)
    if function is None:
        return ""
    function = getattr(function, "__func__", function)
    return f":{function(*run.request.args, **run.request.kwargs)}"


def _renew(runs: list[Run]) -> None:
    try:
        for run in runs:
            aside().hold(_line(run), run.task_id, LEASE)
    except redis.RedisError as fault:
        logger.warning("slots of running jobs can't be held: %s", fault)


_held = Renewed(lambda: LEASE / 3, _renew)


@cache
def aside() -> Aside:
    """The connection of this process."""
    return Aside()
