from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from tests.harness.processes import Process, clean_environment
from tests.harness.waiting import eventually

ROLE = "nightdesk"
# PostgreSQL refuses to run as root; the first of these that exists runs it then.
ACCOUNTS = ("postgres", "nobody")
# What makes a suite quick (a commit outlives a crash of the server, if not one of the machine), and what may
# show a fault: a server whose own zone is far from UTC.
FOR_TESTS = {
    "fsync": "off",
    "full_page_writes": "off",
    "shared_buffers": "64MB",
    "max_connections": "80",
    "timezone": "Asia/Kolkata",
}


class PostgresServer:
    """A private PostgreSQL on a unix socket in a folder of its own; its data survives `kill` and `start`.

    `options` are settings of postgresql.conf, in the place of those for tests.
    """

    def __init__(self, folder: Path | None = None, options: Mapping[str, str] | None = None) -> None:
        self.folder = folder or Path(tempfile.mkdtemp(prefix="nd-pg-"))
        self._options = FOR_TESTS if options is None else options
        self._data = self.folder / "data"
        self._log = self.folder / "postgres.log"
        self._account = _account()
        self._process: Process | None = None

    def url(self, database: str = ROLE) -> str:
        """The address of one of its databases, as DATABASE_URL has it."""
        return f"postgresql://{ROLE}@/{database}?host={self.folder}"

    def start(self) -> None:
        """Start, with a new cluster and its database at the first time, and wait until it answers."""
        fresh = not self._data.exists()
        if fresh:
            self._make_cluster()
        where = ["-D", str(self._data), "-k", str(self.folder), "-c", "listen_addresses="]
        options = [word for name, value in self._options.items() for word in ("-c", f"{name}={value}")]
        self._process = self._run([_binary("postgres"), *where, *options])
        eventually(self._answers, 30, self._log.read_text)
        if fresh:
            self.create(ROLE)

    def create(self, database: str) -> str:
        """Make an empty database; its address."""
        assert self._ask("postgres", f"CREATE DATABASE {database}"), self._log.read_text()
        return self.url(database)

    def stop(self) -> None:
        """End it in order; clients are cut off."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """End it as a crash does: nothing is written any more, the next start recovers."""
        self._end(signal.SIGQUIT)

    def remove(self) -> None:
        """Stop, and delete all of it."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _make_cluster(self) -> None:
        if self._account:
            shutil.chown(self.folder, self._account)
        words = ["-D", str(self._data), "-U", ROLE, "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync"]
        made = self._run([_binary("initdb"), *words])
        assert made.wait(60) == 0, self._log.read_text()

    def _run(self, argv: list[str]) -> Process:
        return Process(argv, clean_environment(self.folder), self._log, user=self._account)

    def _end(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        if self._process.exit_code is None:
            self._process.send(number)
            self._process.wait(30)
        self._process = None

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.exit_code is None, self._log.read_text()
        return self._ask("postgres", "SELECT 1")

    def _ask(self, database: str, sql: str) -> bool:
        words = ["-h", str(self.folder), "-U", ROLE, "-d", database, "-X", "-q", "-c", sql]
        return subprocess.run([_binary("psql"), *words], capture_output=True).returncode == 0


def _account() -> str | None:
    """The account that a server started by us runs under; None for our own."""
    if os.getuid() != 0:
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    return next(name for name in ACCOUNTS if name in known)


def _binary(name: str) -> str:
    """A program of PostgreSQL: from PATH, else from where Debian keeps those of each version."""
    if found := shutil.which(name):
        return found
    kept = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=_version)
    if not kept:
        raise FileNotFoundError(f"{name} of PostgreSQL is not installed (apt-get install postgresql)")
    return str(kept[-1])


def _version(path: Path) -> int:
    return int(path.parts[4]) if path.parts[4].isdigit() else 0
