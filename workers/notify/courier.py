"""One delivery on its way, in a process of its own: whoever hangs holds up nobody else."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from typing import IO

from workers.notify import child
from workers.notify.letter import Letter, Outcome, outcome_from

# From a process's start to the answer of the receiver, in seconds.
DEADLINE = 15.0
# Nothing of ours is in the environment of a process that runs code of others.
KEPT = (
    "PATH", "LANG", "LC_ALL", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "SYSTEMROOT",
    "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE",
)  # fmt: skip


class Courier:
    """Begins at once; `outcome` tells how it ended."""

    def __init__(self, letter: Letter, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seconds = letter.seconds
        self._until = clock() + letter.seconds
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-B", child.__file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={name: os.environ[name] for name in KEPT if name in os.environ},
        )
        self._tell(letter)

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    def outcome(self) -> Outcome | None:
        """What came of it; None while it is on its way. What takes too long is ended."""
        if self._process.poll() is None:
            if self._clock() < self._until:
                return None
            self.end()
            return Outcome("unknown", f"no end within {self._seconds:g} seconds")
        told = _pipe(self._process.stdout).read()
        self.end()
        return outcome_from(told)

    def end(self) -> None:
        """End it now, whatever it does."""
        self._process.kill()
        self._process.wait()
        _pipe(self._process.stdout).close()

    def _tell(self, letter: Letter) -> None:
        try:
            with _pipe(self._process.stdin) as pipe:
                pipe.write(letter.packed())
        except OSError:  # it has ended, and will tell no outcome
            return


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    assert pipe
    return pipe
