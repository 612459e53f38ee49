from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from tests.harness.waiting import eventually

ROOT = Path(__file__).resolve().parent.parent.parent


class Process:
    """One child in a session of its own; what it says goes to a file."""

    def __init__(
        self,
        argv: Sequence[str],
        env: Mapping[str, str],
        log: Path,
        stdin: int = subprocess.DEVNULL,
        *,
        user: str | None = None,
    ) -> None:
        self.log = log
        # What an earlier one of this name has said is not ours.
        self._said_before = log.stat().st_size if log.exists() else 0
        self._name = " ".join(argv[1:5])
        with log.open("ab") as output:
            self._popen = subprocess.Popen(
                argv,
                cwd=ROOT,
                env=dict(env),
                stdin=stdin,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                user=user,
            )

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def exit_code(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""
        return self._popen.poll()

    def text(self) -> str:
        return self.log.read_bytes()[self._said_before :].decode(errors="replace")

    def says(self, words: str, timeout: float = 30.0) -> None:
        """Wait until its output holds `words`; fail at once if it ends without them."""
        eventually(
            lambda: words in self.text() or self.exit_code is not None,
            timeout,
            lambda: f"{self._name} says {words!r}; it said:\n{self.text()[-3000:]}",
        )
        assert words in self.text(), f"{self._name} ended with {self.exit_code}:\n{self.text()[-3000:]}"

    def send(self, number: signal.Signals) -> None:
        """Signal this one process, not its group."""
        os.kill(self.pid, number)

    def wait(self, timeout: float = 30.0) -> int:
        """The exit code, once it has ended."""
        try:
            return self._popen.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self._name} still runs; it said:\n{self.text()[-3000:]}") from None

    def kill(self) -> None:
        """SIGKILL to the process and its group."""
        self._signal_group(signal.SIGKILL)
        self._popen.wait(10)

    def ask_to_stop(self) -> None:
        """SIGTERM as a service manager would send it, if it still runs."""
        if self.exit_code is None:
            self.send(signal.SIGTERM)

    def stop(self, timeout: float = 15.0) -> int:
        """End it in peace; SIGKILL to the group if it does not leave."""
        self.ask_to_stop()
        with suppress(subprocess.TimeoutExpired):
            self._popen.wait(timeout)
        self.kill()
        return self._popen.returncode

    def _signal_group(self, number: signal.Signals) -> None:
        with suppress(
            ProcessLookupError, PermissionError
        ):  # all gone (macOS says PermissionError of zombies)
            os.killpg(self.pid, number)


def children_of(pid: int) -> list[int]:
    """The processes that a process, any thread of it, has started and that nobody has waited for yet."""
    lists = [file.read_text() for file in Path(f"/proc/{pid}/task").glob("*/children")]
    return [int(child) for text in lists for child in text.split()]


def free_port() -> int:
    """A loopback port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def clean_environment(home: Path, **changes: str) -> dict[str, str]:
    """An environment without the caller's settings, for a child of the suite."""
    kept = {
        name: os.environ[name]
        for name in ("PATH", "LANG", "TZ", "TMPDIR", "LD_LIBRARY_PATH")
        if name in os.environ
    }
    return {**kept, "HOME": str(home), "PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "", **changes}


def python(*arguments: str) -> list[str]:
    return [sys.executable, *arguments]
