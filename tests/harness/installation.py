from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from tests.harness.processes import ROOT, Process, clean_environment, free_port, python
from tests.harness.redis_server import RedisServer
from tests.harness.waiting import eventually


class Installation:
    """The product's processes over one data folder, one database and one Redis.

    Each starter takes settings as keyword arguments, for example
    `installation.worker("high", VISIBILITY_TIMEOUT="10")`, and returns a
    Process; `stop` ends all that were started.
    """

    def __init__(self, folder: Path, database_url: str, redis: RedisServer, **settings: str) -> None:
        self.folder = folder
        self.redis = redis
        self.env = clean_environment(
            folder,
            DATA_DIR=str(folder),
            DATABASE_URL=database_url,
            REDIS_URL=redis.url,
            SECRET_KEY="a secret for tests alone, long enough to please",
            DEMO="1",
            **settings,
        )
        self._processes: list[Process] = []

    def start(self, name: str, argv: list[str], **settings: str) -> Process:
        log = self.folder / f"{name}-{len(self._processes)}.log"
        process = Process(argv, {**self.env, **settings}, log)
        self._processes.append(process)
        return process

    def manage(self, *arguments: str, **settings: str) -> Process:
        """Start `manage.py …`."""
        return self.start(arguments[0], python(str(ROOT / "manage.py"), *arguments), **settings)

    def monitor(self, **settings: str) -> Process:
        return self.manage("monitor", **settings)

    def beat(self, **settings: str) -> Process:
        return self.start(
            "beat", python("-m", "celery", "--skip-checks", "-A", "workers", "beat"), **settings
        )

    def worker(
        self,
        queues: str = "default",
        *,
        slots: int = 1,
        name: str = "test",
        pool: str = "prefork",
        options: Sequence[str] = (),
        **settings: str,
    ) -> Process:
        """A worker over `queues` (commas between them) that says it is ready."""
        argv = python(
            "-m",
            "celery",
            "--skip-checks",
            "-A",
            "workers",
            "worker",
            "-Q",
            queues,
            "-c",
            str(slots),
            "-P",
            pool,
            "-I",
            "tests.tasks",
            *options,
        )
        process = self.start(f"worker-{name}", [*argv, "-n", f"{name}@%h"], **settings)
        process.says(" ready.")
        return process

    def web(self, port: int | None = None, **settings: str) -> tuple[Process, str]:
        """A web process that answers, and its address without a closing slash."""
        number = port or free_port()
        argv = python("-m", "uvicorn", "dashboard.asgi:application", "--port", str(number), "--no-access-log")
        process = self.start("web", [*argv, "--ws-per-message-deflate", "false"], **settings)
        address = f"http://127.0.0.1:{number}"
        eventually(
            lambda: answers(f"{address}/healthz") or process.exit_code is not None,
            30,
            lambda: process.text()[-3000:],
        )
        assert process.exit_code is None, process.text()[-3000:]
        return process, address

    def stop(self) -> None:
        """End every process of this installation: told at once, waited for one by one."""
        for process in self._processes:
            process.ask_to_stop()
        for process in self._processes:
            process.stop()


def answers(address: str, status: int = 200) -> bool:
    """Whether `address` answers with `status`."""
    try:
        with urllib.request.urlopen(address, timeout=5) as response:
            return bool(response.status == status)
    except urllib.error.HTTPError as error:
        return error.code == status
    except OSError:
        return False
