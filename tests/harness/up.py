from __future__ import annotations

import os
import re
import signal
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tests.harness.installation import answers
from tests.harness.processes import ROOT, Process, clean_environment, free_port, python
from tests.harness.waiting import eventually


class Up:
    """A real `manage.py up` over a folder of its own, without any setting but those given."""

    def __init__(self, folder: Path, stdin: int = subprocess.DEVNULL, /, **settings: str) -> None:
        self.port = int(settings.get("PORT", 0)) or free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        defaults = {
            "DEMO": "0",
            "QUEUES": "default:60:1",
            "STOP_GRACE": "10",
            "ADMIN_PASSWORD": "a night at the desk",
        }
        env = clean_environment(folder, **{**defaults, "DATA_DIR": str(folder / "data"), **settings})
        env["PORT"] = str(self.port)
        log = folder / f"up-{self.port}.log"
        self.process = Process(python(str(ROOT / "manage.py"), "up"), env, log, stdin)

    def is_ready(self) -> None:
        """Wait until the pages answer and every process has been started."""
        self.process.says("beat runs as pid", 60)
        eventually(lambda: answers(f"{self.address}/healthz"), 30, self.process.text)

    def pids(self, name: str) -> list[int]:
        """Every pid that the program `name` had, the latest last."""
        return [int(pid) for pid in re.findall(rf"{name} runs as pid (\d+)", self.process.text())]

    def groups(self) -> list[int]:
        """Every process group that was ever started."""
        return [int(pid) for pid in re.findall(r"runs as pid (\d+)", self.process.text())]

    def comes_back(self, name: str, after: int) -> int:
        """Wait until `name` runs under another pid than `after`, which was just killed."""
        eventually(lambda: self.pids(name)[-1] != after, 30, self.process.text)
        return self.pids(name)[-1]

    def has_left_nothing(self, timeout: float = 15.0) -> None:
        """Wait until no process of any group is alive."""
        groups = self.groups()
        assert groups, self.process.text()
        eventually(lambda: all(map(is_gone, groups)), timeout, lambda: f"gone: {groups}")

    def end(self) -> None:
        """Clear up, whatever the test left."""
        groups = self.groups()
        self.process.kill()
        for group in groups:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(group, signal.SIGKILL)


def is_gone(group: int) -> bool:
    """Whether no process of this group is alive; one that only waits to be buried is not."""
    return all(entry.group != group for entry in process_table())


def wardens_of(parent: int) -> list[int]:
    """The pids of the wardens that `parent` has now."""
    return [entry.pid for entry in process_table() if entry.parent == parent and "warden.py" in entry.command]


@dataclass(frozen=True)
class Entry:
    pid: int
    parent: int
    group: int
    command: str


def process_table() -> list[Entry]:
    """Every live process of this machine, as `ps` tells it or /proc where there is no ps."""
    if Path("/proc/self/stat").exists():
        return [entry for folder in Path("/proc").glob("[0-9]*") if (entry := _read_entry(folder))]
    said = subprocess.run(
        ["ps", "-axo", "pid=,ppid=,pgid=,stat=,command="], capture_output=True, text=True, check=True
    )
    rows = (line.split(None, 4) for line in said.stdout.splitlines())
    return [
        Entry(int(row[0]), int(row[1]), int(row[2]), row[4]) for row in rows if not row[3].startswith("Z")
    ]


def _read_entry(folder: Path) -> Entry | None:
    try:
        state, parent, group = (folder / "stat").read_text().rpartition(")")[2].split()[:3]
        command = (folder / "cmdline").read_text(errors="replace").replace("\0", " ")
    except OSError:
        return None  # it ended meanwhile
    return None if state == "Z" else Entry(int(folder.name), int(parent), int(group), command)
