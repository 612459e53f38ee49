"""Where a benchmark runs: a folder, a Redis and a migrated database, all its own."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks import viewer
from benchmarks.databases import Databases, databases
from tests.harness import Installation, Process, RedisServer, free_port
from tests.harness.processes import ROOT, clean_environment

SECRET = "a secret for benchmarks alone, long enough to please"


@dataclass(frozen=True)
class Place:
    """A folder, a Redis and a database."""

    folder: Path
    redis: RedisServer
    databases: Databases
    database_url: str

    @property
    def env(self) -> Mapping[str, str]:
        """The environment of a process of the product in this place."""
        return clean_environment(
            self.folder,
            DATA_DIR=str(self.folder),
            DATABASE_URL=self.database_url,
            REDIS_URL=self.redis.url,
            SECRET_KEY=SECRET,
            LOG_LEVEL="WARNING",
        )

    def number(self, question: str) -> float:
        """The one number that a statement answers."""
        return self.databases.number(self.database_url, question)

    def web(self, stack: ExitStack) -> str:
        """The address of a web process that lives as long as `stack`, with a superuser."""
        return self.web_process(stack)[1]

    def web_process(self, stack: ExitStack) -> tuple[Process, str]:
        """The same, and the process itself."""
        installation = Installation(self.folder, self.database_url, self.redis, LOG_LEVEL="WARNING")
        # What is signed by a program of this place is good for the web process, too.
        installation.env["SECRET_KEY"] = SECRET
        stack.callback(installation.stop)
        for words in (
            ("collectstatic", "--noinput"),
            ("createsuperuser", "--noinput", "--username", viewer.NAME, "--email", ""),
        ):
            done = installation.manage(*words, DJANGO_SUPERUSER_PASSWORD=viewer.PASSWORD)
            assert done.wait(60) == 0, done.text()
        return installation.web()

    def run(self, *arguments: str, **settings: str) -> str:
        """What the product's Python says, run to its end with these arguments."""
        argv = [sys.executable, *arguments]
        done = subprocess.run(argv, cwd=ROOT, env={**self.env, **settings}, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"{' '.join(arguments)} ended with {done.returncode}:\n{done.stderr[-3000:]}")
        return done.stdout

    @contextmanager
    def copied(self) -> Iterator[Place]:
        """This place with a copy of its database, which is deleted afterwards."""
        url = self.databases.fresh(self.database_url)
        try:
            yield replace(self, database_url=url)
        finally:
            self.databases.discard(url)


@contextmanager
def place(vendor: str) -> Iterator[Place]:
    """A place with an empty record; TMPDIR says on which disk."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="nd-bench-")))
        redis = stack.enter_context(private_redis(folder))
        made = stack.enter_context(databases(vendor, folder))
        here = Place(folder, redis, made, made.fresh())
        here.run("manage.py", "migrate", "--verbosity", "0")
        yield here


def own_folder(stack: ExitStack) -> Path:
    """A folder that is there as long as `stack`."""
    return Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="nd-b-")))


def redis_at_a_port(stack: ExitStack, folder: Path, **options: str) -> str:
    """The port of a Redis that lives as long as `stack`."""
    port = str(free_port())
    server = RedisServer(folder, {**options, "port": port})
    server.start()
    stack.callback(server.stop)
    return port


@contextmanager
def private_redis(folder: Path) -> Iterator[RedisServer]:
    """A Redis that keeps nothing on disk, and cuts off no slow reader."""
    server = RedisServer(folder, {"appendonly": "no"})
    server.start()
    try:
        with server.client() as client:
            client.config_set("client-output-buffer-limit", "pubsub 0 0 0")
        yield server
    finally:
        server.stop()
