from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.harness.processes import Process, clean_environment
from tests.harness.waiting import eventually
from workers.supervisor.embedded_redis import find_binary


class RedisServer:
    """A private Redis on a unix socket in `folder`; its data survives `kill` and `start`."""

    def __init__(self, folder: Path, options: Mapping[str, str] | None = None) -> None:
        self.socket = folder / "redis.sock"
        self.url = f"unix://{self.socket}?db=0"
        self._folder = folder
        self._options = {"appendonly": "yes", "appendfsync": "always", "save": "", **(options or {})}
        self._process: Process | None = None

    def start(self) -> None:
        """Start and wait until it answers."""
        options = [word for name, value in self._options.items() for word in (f"--{name}", value)]
        where = ["--port", "0", "--unixsocket", str(self.socket), "--dir", str(self._folder)]
        argv = [str(find_binary()), *where, *options]
        self._process = Process(argv, clean_environment(self._folder), self._folder / "redis.log")
        eventually(self._answers, 10, lambda: (self._folder / "redis.log").read_text())

    def kill(self) -> None:
        """SIGKILL."""
        if self._process is not None:
            self._process.kill()

    def stop(self) -> None:
        if self._process is not None:
            self._process.stop()

    def client(self) -> redis.Redis:
        """A client without retries, so that a dead server is noticed at once."""
        return redis.Redis.from_url(self.url, socket_timeout=5, retry=Retry(NoBackoff(), 0))

    def _answers(self) -> bool:
        try:
            with self.client() as client:
                return bool(client.ping())
        except redis.RedisError:
            return False
