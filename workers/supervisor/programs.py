"""Which processes make up an installation on one machine, and how each is started."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum

from jobs.queues import QueuePolicy

LARGEST_SOCKET_MESSAGE = 65_536


class StopStage(IntEnum):
    """What stops together; each stage is gone before the next one is asked."""

    PRODUCERS = 0
    WORKERS = 1
    WATCHERS = 2
    REDIS = 3


@dataclass(frozen=True)
class Program:
    name: str
    argv: tuple[str, ...]
    stage: StopStage


def web(host: str, port: int, *, behind_proxy: bool) -> Program:
    """The pages. Forwarded headers count only behind a proxy, else anybody could claim an address."""
    options = {
        "--host": host,
        "--port": str(port),
        "--lifespan": "off",
        "--ws-per-message-deflate": "false",
        "--ws-max-size": str(LARGEST_SOCKET_MESSAGE),
        "--timeout-graceful-shutdown": "3",
    }
    flags = [
        "--no-access-log",
        "--no-server-header",
        "--proxy-headers" if behind_proxy else "--no-proxy-headers",
    ]
    words = [word for pair in options.items() for word in pair]
    return Program(
        "web", _python("-m", "uvicorn", "dashboard.asgi:application", *words, *flags), StopStage.WATCHERS
    )


def background(queues: Iterable[QueuePolicy], *, demo: bool) -> list[Program]:
    """Everything that may start after the pages are up."""
    programs = [monitor(), *(worker(queue) for queue in queues), beat()]
    return [*programs, demo_producer()] if demo else programs


def worker(queue: QueuePolicy) -> Program:
    """One worker for one queue, so that a busy queue never takes another one's slots."""
    options = ("-Q", queue.name, "-n", f"{queue.name}-1@%h", "-c", str(queue.slots))
    return Program(f"worker-{queue.name}", _celery("worker", *options), StopStage.WORKERS)


def beat() -> Program:
    return Program("beat", _celery("beat"), StopStage.PRODUCERS)


def monitor() -> Program:
    return Program("monitor", _python("manage.py", "monitor"), StopStage.WATCHERS)


def demo_producer() -> Program:
    return Program("demo", _python("manage.py", "demo"), StopStage.PRODUCERS)


def _celery(command: str, *options: str) -> tuple[str, ...]:
    return _python("-m", "celery", "-q", "--skip-checks", "-A", "workers", command, *options)


def _python(*arguments: str) -> tuple[str, ...]:
    return (sys.executable, *arguments)
