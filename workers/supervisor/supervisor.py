"""Start programs, restart what dies with backoff, stop them in order."""

from __future__ import annotations

import asyncio
import os
import select
import signal
import subprocess
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

from workers.supervisor.leash import Leash
from workers.supervisor.output import Printer, lines_from
from workers.supervisor.programs import Program, StopStage

FIRST_DELAY = 0.5
LONGEST_DELAY = 30.0
STEADY_AFTER = 60.0
# How long each stage may take to stop, in seconds. Workers get the settings' STOP_GRACE, and a moment
# to give back what still runs.
STAGE_GRACE = 5.0
COLD_STOP = 2.0


def next_delay(previous: float, lived: float) -> float:
    """Seconds until a program that lived `lived` seconds starts again; `previous` is 0 the first time."""
    if previous == 0 or lived >= STEADY_AFTER:
        return FIRST_DELAY
    return min(LONGEST_DELAY, previous * 2)


def said_of_end(code: int) -> str:
    """How a process ended, from its return code as `subprocess` gives it."""
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"was ended by signal {-code}"


class Supervisor:
    """Keeps programs running, each in a session of its own, until a signal asks it to stop.

    SIGINT, SIGTERM and SIGHUP stop in order; a second one kills at once.
    `grace` is how many seconds running jobs get. `lock` is a descriptor that
    the warden holds too, so that it is free only when nothing is left behind.
    """

    def __init__(self, printer: Printer, *, folder: Path, grace: float, lock: int) -> None:
        self._printer = printer
        self._folder = folder
        self._grace = grace
        self._leash = Leash(grace + COLD_STOP + STAGE_GRACE * len(StopStage), lock)
        self._processes: dict[Program, asyncio.subprocess.Process] = {}
        self._kept: dict[Program, asyncio.Task[None]] = {}
        self._stopping = asyncio.Event()

    async def run(self, start: Callable[[], Awaitable[None]]) -> None:
        """Run `start`, which calls `keep`, then wait for a signal. What `start` raises stops everything."""
        self._listen()
        terminal = asyncio.create_task(self._watch_terminal())
        await self._leash.attach()
        try:
            await self._until_stopping(start)
        finally:
            self._stopping.set()
            terminal.cancel()
            await self._stop_in_order()
            await self._leash.drop()

    def keep(self, program: Program) -> None:
        """Start `program`, and start it again whenever it ends."""
        task = asyncio.create_task(self._keep(program), name=program.name)
        task.add_done_callback(lambda _: self._stopping.set())  # it ends early only by a fault of ours
        self._kept[program] = task

    def say(self, text: str) -> None:
        self._printer.line("up", text)

    async def _until_stopping(self, start: Callable[[], Awaitable[None]]) -> None:
        starting = asyncio.ensure_future(start())
        stopping = asyncio.create_task(self._stopping.wait())
        await asyncio.wait([starting, stopping], return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            starting.result()
            await stopping
        starting.cancel()
        with suppress(asyncio.CancelledError):
            await starting

    def _listen(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:  # nohup asks to outlive the terminal
                loop.add_signal_handler(number, self._stop_requested, number)

    async def _watch_terminal(self) -> None:
        """A terminal that dies tells the leader of its session, which need not be us."""
        terminals = [descriptor for descriptor in (0, 1, 2) if os.isatty(descriptor)]
        if not terminals or signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
            return
        while not self._stopping.is_set():
            await asyncio.sleep(1)
            if any(map(has_hung_up, terminals)) and not self._stopping.is_set():
                self._stop_requested(signal.SIGHUP)

    def _stop_requested(self, number: signal.Signals) -> None:
        if self._stopping.is_set():
            self._kill_at_once()
        self.say(f"{number.name}: running jobs get up to {self._grace:g} s; a second signal kills at once")
        self._stopping.set()

    def _kill_at_once(self) -> None:
        for process in self._processes.values():
            kill_group(process.pid)
        self.say("killed at once")
        self._printer.close()
        os._exit(1)  # a thread may still be in the middle of a migration; nothing may wait for it

    # One program

    async def _keep(self, program: Program) -> None:
        delay = 0.0
        while not self._stopping.is_set():
            began = time.monotonic()
            said = await self._run_once(program)
            if self._stopping.is_set():
                return
            delay = next_delay(delay, time.monotonic() - began)
            self.say(f"{said}; it starts again in {delay:g} s")
            await self._pause(delay)

    async def _run_once(self, program: Program) -> str:
        """Run to the end, and tell how it ended."""
        try:
            process, printing = await self._start(program)
        except OSError as error:
            return f"{program.name} can't be started: {error.strerror}"
        self.say(f"{program.name} runs as pid {process.pid}")
        if self._stopping.is_set():
            terminate(process)
        code = await process.wait()
        self._end(program, process)
        with suppress(TimeoutError):  # a grandchild in a session of its own may hold the pipe
            await asyncio.wait_for(printing, 1)
        return f"{program.name} (pid {process.pid}) {said_of_end(code)}"

    async def _start(self, program: Program) -> tuple[asyncio.subprocess.Process, asyncio.Task[None]]:
        reading, writing = os.pipe()
        try:
            process = await asyncio.create_subprocess_exec(
                *program.argv,
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=writing,
                stderr=writing,
                # Ctrl-C in the terminal reaches `up` alone, which then stops the others in order.
                start_new_session=True,
                # Between fork and exec, so that at no moment a group exists that the warden does not know.
                preexec_fn=lambda: self._leash.enlist(os.getpid(), program.stage),
            )
        except OSError:
            os.close(reading)
            raise
        finally:
            os.close(writing)
        self._processes[program] = process
        self._leash.remember(process.pid, program.stage)
        return process, asyncio.create_task(self._print_output(program.name, reading))

    def _end(self, program: Program, process: asyncio.subprocess.Process) -> None:
        kill_group(process.pid)  # a pool child that outlives its worker can neither finish nor be stopped
        self._leash.strike(process.pid)
        del self._processes[program]

    async def _print_output(self, name: str, descriptor: int) -> None:
        async for line in lines_from(descriptor):
            if line.strip():
                self._printer.line(name, line)

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)

    # The end

    async def _stop_in_order(self) -> None:
        for stage in StopStage:
            grace = self._grace + COLD_STOP if stage is StopStage.WORKERS else STAGE_GRACE
            await self._stop([program for program in self._kept if program.stage is stage], grace)

    async def _stop(self, programs: list[Program], grace: float) -> None:
        for program in programs:
            if process := self._processes.get(program):
                terminate(process)
        tasks = [self._kept[program] for program in programs]
        if not tasks:
            return
        _, late = await asyncio.wait(tasks, timeout=grace)
        for program in programs:
            if self._kept[program] in late:
                self._kill_late(program, grace)
        await asyncio.gather(*tasks)

    def _kill_late(self, program: Program, grace: float) -> None:
        if process := self._processes.get(program):
            self.say(f"{program.name} (pid {process.pid}) still runs after {grace:g} s and is killed")
            kill_group(process.pid)


def terminate(process: asyncio.subprocess.Process) -> None:
    """SIGTERM, if it has not ended by itself."""
    with suppress(ProcessLookupError):
        process.terminate()


def has_hung_up(terminal: int) -> bool:
    """Whether the other side of this terminal is gone."""
    poll = select.poll()
    poll.register(terminal, 0)
    return any(events & (select.POLLHUP | select.POLLERR | select.POLLNVAL) for _, events in poll.poll(0))


def kill_group(group: int) -> None:
    """SIGKILL to all that is left of a process group."""
    with suppress(
        ProcessLookupError, PermissionError
    ):  # nobody is left (macOS says PermissionError of zombies)
        os.killpg(group, signal.SIGKILL)
