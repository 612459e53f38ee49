"""Tasks that ask something of the base task: `celery -A workers worker -I tests.promises`."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

from celery.exceptions import Reject
from django.contrib.auth.models import User

from tests.tasks import note, sleep_until
from workers.app import app
from workers.loop import Context, on_shutdown, on_startup
from workers.retries import Permanent, Transient

# Messages that nobody acknowledged in time are looked for every second, not every hundred.
app.conf.broker_transport_options = {
    **app.conf.broker_transport_options,
    "unacked_restore_interval": 1,
    "unacked_restore_throttle": 1,
}
LONG: dict[str, Any] = {"time_limit": 120, "soft_time_limit": 110}

logger = logging.getLogger("shop.orders")


@app.task(bind=True, **LONG)
def hold(self: Any, file: str, done: str) -> str:
    """Note the pid, and run until `done` exists."""
    note.run(file, f"began {os.getpid()} {self.request.retries}")
    sleep_until.run(done, 100)
    note.run(file, f"ended {os.getpid()}")
    return str(os.getpid())


@app.task(bind=True, **LONG)
def take_the_worker_along(self: Any, file: str) -> None:
    """Kill the whole worker, as whoever runs out of memory in a container does."""
    note.run(file, "ran")
    os.kill(os.getppid(), signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)


@app.task(ignore_result=True)
def note_without_result(file: str) -> None:
    note.run(file, "ran")


@app.task(idempotent=True)
def note_each_time(file: str) -> None:
    note.run(file, "ran")


@app.task(bind=True)
def reject_once(self: Any, file: str) -> str:
    """Give the message back at its first delivery."""
    note.run(file, "ran")
    if len(Path(file).read_text().splitlines()) == 1:
        raise Reject("not now", requeue=True)
    return "ran"


@app.task
def replacing(file: str) -> str:
    note.run(file, "replacing")
    return "replaced"


@app.task(bind=True)
def replaced(self: Any, file: str) -> Any:
    """Have another task go on under this job's id."""
    note.run(file, "replaced")
    return self.replace(replacing.s(file))


# Retries


@app.task(bind=True, transient=(ConnectionError,), backoff=0.05, backoff_cap=0.1, max_retries=4)
def ask_partner(self: Any, file: str, fault: str) -> str:
    """Fail as told until the third attempt."""
    note.run(file, str(self.request.retries))
    if self.request.retries < 2:
        faults = {
            "connection": ConnectionResetError("reset"),
            "transient": Transient("busy", after=0.01),
            "permanent": Permanent("no such partner"),
            "other": KeyError("currency"),
        }
        raise faults[fault]
    return "told"


@app.task(bind=True, autoretry_for=(OSError,), retry_kwargs={"countdown": 0, "max_retries": 1})
def celerys_own(self: Any) -> int:
    if self.request.retries == 0:
        raise OSError("once")
    return int(self.request.retries)


@app.task(bind=True, **LONG)
def fail_once_told(self: Any, file: str, go: str) -> int:
    """Wait until `go` exists, and have another try."""
    note.run(file, str(self.request.retries))
    if self.request.retries == 0:
        sleep_until.run(go, 100)
        raise Transient("busy", after=0.1)
    return int(self.request.retries)


@app.task(alert_on_failure=True)
def must_not_fail() -> None:
    raise KeyError("currency")


# Limits


def noted_span(file: str, seconds: float) -> None:
    note.run(file, f"{time.time()} +1")
    time.sleep(seconds)
    note.run(file, f"{time.time()} -1")


@app.task(concurrency=2, **LONG)
def two_at_once(file: str, seconds: float) -> None:
    noted_span(file, seconds)


@app.task(concurrency=1, concurrency_key=lambda file, shop: shop, **LONG)
def one_a_shop(file: str, shop: str) -> None:
    note.run(file, f"{shop} +1")
    time.sleep(0.3)
    note.run(file, f"{shop} -1")


@app.task(bind=True, concurrency=1, **LONG)
def hold_alone(self: Any, file: str, done: str) -> str:
    return str(hold.run(file, done))


@app.task(rate="2/s")
def twice_a_second(file: str) -> None:
    note.run(file, str(time.time()))


# Coroutines


@on_startup
async def note_start(ctx: Context) -> None:
    ctx["started"] = ctx.get("started", 0) + 1
    ctx["thread"] = threading.get_ident()


@on_shutdown
async def note_stop(ctx: Context) -> None:
    if "file" in ctx:
        await asyncio.sleep(0)
        note.run(ctx["file"], f"stopped {os.getpid()}")


@app.task(bind=True)
async def gather(self: Any, file: str, numbers: list[int]) -> dict[str, Any]:
    """Wait for several things at once."""
    self.ctx["file"] = file

    async def double(number: int) -> int:
        await asyncio.sleep(0.05)
        return 2 * number

    doubled = await asyncio.gather(*(double(number) for number in numbers))
    return {
        "doubled": doubled,
        "id": self.request.id,
        "started": self.ctx["started"],
        "same_thread": threading.get_ident() == self.ctx["thread"],
        "pid": os.getpid(),
    }


@app.task(bind=True, soft_time_limit=1, time_limit=30)
async def never_ends(self: Any, file: str) -> None:
    try:
        await asyncio.sleep(60)
    finally:
        note.run(file, "cleared up")


@app.task(soft_time_limit=1, time_limit=30)
async def ends_when_cancelled() -> str:
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        return "in good order"
    return "never"


@app.task(bind=True, transient=(ConnectionError,), backoff=0.01)
async def fetch(self: Any) -> int:
    await asyncio.sleep(0)
    if self.request.retries == 0:
        raise ConnectionError("away")
    return int(self.request.retries)


@app.task
async def count_people() -> int:
    return await User.objects.acount()


@app.task(bind=True)
async def tell_from_a_coroutine(self: Any, go: str) -> str:
    self.step("first", of=2)
    self.step("second", of=2)
    logger.warning("from a coroutine")
    while not Path(go).exists():
        await asyncio.sleep(0.02)
    return "told"


# Telling


@app.task(bind=True, steps=3)
def step_by_step(self: Any, go: str) -> str:
    self.step("fetch")
    self.step("sort")
    self.step("write", shelf="A")
    return str(sleep_until.run(go, 60))


@app.task
def log_lines(count: int, go: str) -> None:
    for number in range(count):
        logger.info("line %d of order", number)
    logger.error("password=hunter2 is refused", exc_info=KeyError("currency"))
    sleep_until.run(go, 60)


@app.task(bind=True, **LONG)
def until_cancelled(self: Any, file: str) -> str:
    note.run(file, "began")
    deadline = time.monotonic() + 60
    while not self.cancelled() and time.monotonic() < deadline:
        time.sleep(0.02)
    return "cancelled" if self.cancelled() else "never"


@app.task
def large_result(size: int) -> list[str]:
    return ["x" * 100] * (size // 100)


@app.task
def length_of(text: Any) -> int:
    return len(text)
