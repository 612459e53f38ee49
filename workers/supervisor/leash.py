"""Our end of the warden's pipe. While we live it stays open; what we started is known to the warden."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from contextlib import suppress

from workers.supervisor import warden
from workers.supervisor.programs import StopStage

RESTART_DELAY = 0.5


class Leash:
    """Holds the warden: starts it, another one when it dies, and tells it which groups there are."""

    def __init__(self, grace: float, lock: int) -> None:
        self._argv = (sys.executable, "-I", "-S", warden.__file__, str(grace))
        self._lock = lock
        # We keep the reading end too, so that what is written while no warden lives waits for the next one.
        self._reading, self._writing = os.pipe()
        os.set_blocking(self._writing, False)
        self._groups: dict[int, StopStage] = {}
        self._process: asyncio.subprocess.Process | None = None
        self._kept: asyncio.Task[None] | None = None

    async def attach(self) -> None:
        self._process = await self._start()
        self._kept = asyncio.create_task(self._keep(self._process))

    def enlist(self, group: int, stage: StopStage) -> None:
        """Tell the warden of a group. Runs in the child, between fork and exec."""
        self._write(b"+%d %d\n" % (group, stage))

    def remember(self, group: int, stage: StopStage) -> None:
        """Keep a group in mind for the next warden."""
        self._groups[group] = stage

    def strike(self, group: int) -> None:
        """Tell the warden that a group is gone."""
        self._groups.pop(group, None)
        self._write(b"-%d\n" % group)

    async def drop(self) -> None:
        """Close the pipe: with no group left, the warden ends by itself."""
        assert self._kept is not None, "attach came first"
        self._kept.cancel()
        os.close(self._writing)
        os.close(self._reading)
        if self._process is not None:
            await self._process.wait()

    async def _keep(self, process: asyncio.subprocess.Process) -> None:
        while True:
            await process.wait()
            await asyncio.sleep(RESTART_DELAY)
            self._process = process = await self._start()
            for group, stage in self._groups.items():
                self._write(b"+%d %d\n" % (group, stage))

    async def _start(self) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *self._argv,
            stdin=self._reading,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(self._lock,),
            start_new_session=True,
        )

    def _write(self, line: bytes) -> None:
        with suppress(
            BlockingIOError
        ):  # full: no warden has read for long, and the next one is told everything
            os.write(self._writing, line)
