from __future__ import annotations

import os
import shutil
import signal
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import kombu
import pytest
from amqp.exceptions import AMQPError

from tests.harness.processes import Process, clean_environment, free_port
from tests.harness.waiting import eventually

MISSING = "RabbitMQ is missing. On Debian: apt-get install -y rabbitmq-server"
# Debian's own script on PATH changes to an account of its own.
KEPT = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
SETTINGS = """
log.console.level = warning
vm_memory_high_watermark.absolute = 400MB
disk_free_limit.absolute = 20MB
"""
ERLANG = "-kernel inet_dist_use_interface {127,0,0,1} +S 1:1 +sbwt none"


class RabbitServer:
    """A private RabbitMQ on loopback; what it has confirmed survives `kill` and `start`."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="nd-mq-"))
        self.port, self._names_port, nodes_port = free_port(), free_port(), free_port()
        self.url = f"amqp://guest:guest@127.0.0.1:{self.port}//"
        for name, text in (("rabbitmq.conf", SETTINGS), ("plugins", "[].\n"), ("env.conf", "")):
            (self.folder / name).write_text(text)
        self._env = clean_environment(
            self.folder,
            RABBITMQ_NODENAME=f"nd-{os.getpid()}@localhost",
            RABBITMQ_NODE_IP_ADDRESS="127.0.0.1",
            RABBITMQ_NODE_PORT=str(self.port),
            RABBITMQ_DIST_PORT=str(nodes_port),
            ERL_EPMD_PORT=str(self._names_port),
            ERL_EPMD_ADDRESS="127.0.0.1",
            RABBITMQ_MNESIA_BASE=str(self.folder / "data"),
            RABBITMQ_LOG_BASE=str(self.folder / "log"),
            RABBITMQ_LOGS="-",
            RABBITMQ_CONFIG_FILE=str(self.folder / "rabbitmq"),
            RABBITMQ_CONF_ENV_FILE=str(self.folder / "env.conf"),
            RABBITMQ_ENABLED_PLUGINS_FILE=str(self.folder / "plugins"),
            RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS=ERLANG,
        )
        self._names: Process | None = None
        self._process: Process | None = None

    def start(self) -> None:
        """Start, and wait until it answers."""
        if self._names is None:  # Erlang's port mapper, which would else stay behind
            argv = ["epmd", "-port", str(self._names_port), "-address", "127.0.0.1"]
            self._names = Process(argv, self._env, self.folder / "epmd.log")
        log = self.folder / "rabbitmq.log"
        self._process = Process([_binary() or ""], self._env, log)
        eventually(self._answers, 120, lambda: log.read_text()[-3000:])

    def kill(self) -> None:
        """SIGKILL."""
        if self._process is not None:
            self._process.kill()

    def send(self, number: signal.Signals) -> None:
        """Signal it, and whatever it has started."""
        assert self._process is not None
        os.killpg(self._process.pid, number)

    def remove(self) -> None:
        """End it, and delete all of it."""
        for process in (self._process, self._names):
            if process is not None:
                process.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    @contextmanager
    def channel(self) -> Iterator[Any]:
        """A plain channel, to look at queues."""
        with kombu.Connection(self.url) as connection:
            yield connection.channel()

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.exit_code is None, (self.folder / "rabbitmq.log").read_text()[-3000:]
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
            with self.channel():
                return True
        except (OSError, AMQPError):  # it listens before it is ready
            return False


def needed() -> None:
    """Skip a test where there is no RabbitMQ, or fail where REQUIRE_RABBITMQ=1."""
    if _binary() is None:
        miss = pytest.fail if os.environ.get("REQUIRE_RABBITMQ") == "1" else pytest.skip
        miss(MISSING)


def _binary() -> str | None:
    return str(KEPT) if KEPT.exists() else shutil.which("rabbitmq-server")
