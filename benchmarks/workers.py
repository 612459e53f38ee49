"""Real prefork workers over jobs that wait in their queue: CPU and time up to the last result."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import redis

from tests.harness import Process, eventually
from tests.harness.processes import clean_environment, python


@dataclass(frozen=True)
class Run:
    """Seconds of one job: of CPU (main process and pool), and of time if jobs ran one after the other."""

    cpu: float
    time: float


@dataclass(frozen=True)
class Program:
    """A Celery program to be measured: a module of this package with `app`, that publishes jobs if it is run.

    `broker` is a Redis database of its own. `forget` deletes all results,
    `results` counts them.
    """

    module: str
    broker: str
    env: Mapping[str, str]
    forget: Callable[[], object]
    results: Callable[[], int]


class FedWorker:
    """A prefork worker of a program, fed again and again with the same messages."""

    def __init__(self, name: str, folder: Path, program: Program, slots: int) -> None:
        self._program = program
        self._broker = redis.Redis.from_url(program.broker)
        self._env = clean_environment(folder, **program.env)
        self._log = folder / f"{name}.log"
        argv = ["celery", "--skip-checks", "-A", program.module, "worker", "-E", "-P", "prefork"]
        self._argv = python("-m", *argv, "-c", str(slots), "-n", f"{name}@%h", "-l", "WARNING")
        self._processes: list[Process] = []
        self._queue, self._jobs = b"", 0

    def start(self, jobs: int) -> None:
        """Publish `jobs` jobs as this program does, keep their messages, and run them once to warm up."""
        self._jobs = jobs
        published = Process(python("-m", self._program.module, str(jobs)), self._env, self._log)
        assert published.wait(600) == 0, published.text()[-3000:]
        [self._queue] = [
            key for key in self._broker.scan_iter(_type="list") if self._broker.llen(key) == jobs
        ]
        self._broker.rename(self._queue, b"kept")
        self._processes.append(Process(self._argv, self._env, self._log))
        self.run()

    def run(self) -> Run:
        """Feed the kept jobs, and wait until each has its result."""
        self._program.forget()
        cpu, began = self._cpu(), time.perf_counter()
        self._broker.copy("kept", self._queue)  # type: ignore[arg-type]
        eventually(self._all_done, 600, lambda: self._processes[-1].text()[-3000:], every=0.05)
        elapsed = time.perf_counter() - began
        time.sleep(0.3)  # what is put off for later belongs to it
        return Run((self._cpu() - cpu) / self._jobs, elapsed / self._jobs)

    def stop(self) -> None:
        for process in self._processes:
            process.stop()

    def _all_done(self) -> bool:
        assert self._processes[-1].exit_code is None, self._processes[-1].text()[-3000:]
        return self._program.results() >= self._jobs

    def _cpu(self) -> float:
        return sum(cpu_seconds(pid) for pid in family(self._processes[-1].pid))


def run_in_turns(
    stack: ExitStack, workers: Mapping[str, FedWorker], jobs: int, rounds: int
) -> list[dict[str, Run]]:
    """What each took, round by round, all of them kept ready for as long as `stack` lives."""
    for worker in workers.values():
        stack.callback(worker.stop)
        worker.start(jobs)
    return [{name: workers[name].run() for name in _order(list(workers), number)} for number in range(rounds)]


def _order(names: list[str], number: int) -> list[str]:
    """Who runs first changes from round to round."""
    return names if number % 2 else names[::-1]


def family(pid: int) -> list[int]:
    """A process and its children."""
    told = subprocess.run(["ps", "-axo", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    rows = [line.split() for line in told.splitlines()]
    return [pid, *(int(child) for child, parent in rows if int(parent) == pid)]


def cpu_seconds(pid: int) -> float:
    """User and system time of one process: from /proc, or as `ps` tells it where there is none."""
    stat = Path(f"/proc/{pid}/stat")
    if stat.exists():
        fields = stat.read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    told = subprocess.run(
        ["ps", "-o", "cputime=", "-p", str(pid)], capture_output=True, text=True, check=True
    )
    return _seconds(told.stdout.strip().split(":"))


def _seconds(parts: Sequence[str]) -> float:
    """Hours, minutes and seconds, as far as they are told."""
    total = 0.0
    for part in parts:
        total = total * 60 + float(part)
    return total
