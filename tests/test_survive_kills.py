"""Any process may be killed while the shop runs: it comes back, the page recovers, the record is whole."""

from __future__ import annotations

import os
import signal
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis
from playwright.sync_api import Page

from dashboard.environment import embedded_socket
from tests.browser.chromium import open_browser
from tests.harness import PostgresServer, Process, eventually
from tests.harness.processes import clean_environment, python
from tests.harness.up import Up, process_table

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

PASSWORD = "a night at the desk"
ENDS = {"succeeded": "SUCCESS", "failed": "FAILURE"}
# kombu looks for what nobody has acknowledged about every 100 s.
REDELIVERED_WITHIN = 240.0
SETTINGS = {
    "DEMO": "1",
    "DEMO_JOBS_PER_HOUR": "9000",
    "QUEUES": "high:10:2,default:60:2,low:300:1",
    "SOFT_TIME_LIMIT": "10",
    "HARD_TIME_LIMIT": "15",
    "VISIBILITY_TIMEOUT": "20",
    "ADMIN_PASSWORD": PASSWORD,
}


class Shop:
    """A running installation with its demo, and its database as a reader sees it."""

    def __init__(self, folder: Path, database_url: str) -> None:
        settings = {**SETTINGS, "DATABASE_URL": database_url}
        self.up = Up(folder, **settings)
        self.up.is_ready()
        data = folder / "data"
        self._database_url = database_url
        self._socket = embedded_socket(data)
        env = clean_environment(
            folder, DATA_DIR=str(data), DJANGO_SETTINGS_MODULE="dashboard.settings", **settings
        )
        self.publisher = Process(python("-m", "tests.publish_steadily"), env, folder / "published")

    def ask(self, sql: str) -> list[tuple[Any, ...]]:
        with closing(self._reader()) as connection:
            rows: list[tuple[Any, ...]] = connection.execute(sql).fetchall()
        return rows

    def _reader(self) -> Any:
        scheme, _, path = self._database_url.partition(":///")
        if scheme == "sqlite":
            return sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=20)
        return psycopg.connect(self._database_url)

    def states(self) -> dict[str, str]:
        return dict(self.ask("SELECT task_id, state FROM nightdesk_jobs_job"))

    def results(self) -> dict[str, str]:
        return dict(self.ask("SELECT task_id, status FROM django_celery_results_taskresult"))

    def ended(self) -> int:
        return int(self.ask("SELECT count(*) FROM nightdesk_jobs_job WHERE ended_at IS NOT NULL")[0][0])

    def open_jobs(self) -> list[tuple[Any, ...]]:
        return self.ask("SELECT task_id, state, received_at FROM nightdesk_jobs_job WHERE ended_at IS NULL")

    def has_nothing_left_to_do(self) -> bool:
        """Whether no message waits in the broker, and no worker holds one."""
        with redis.Redis(unix_socket_path=str(self._socket)) as client:
            waiting: Any = client.keys("*")
            queues = [key for key in waiting if key.split(b"\x06")[0] in (b"high", b"default", b"low")]
            return not queues and not client.exists("unacked")

    def published(self) -> set[str]:
        return {line for line in self.publisher.text().split() if len(line) == 36}

    def stop_publishing(self) -> None:
        """End our own publisher, and freeze the shop's and Beat: `up` would restart what ends."""
        assert self.publisher.stop() == 0
        for name in ("demo", "beat"):
            os.killpg(self.up.pids(name)[-1], signal.SIGSTOP)

    def end(self) -> None:
        self.publisher.kill()
        self.up.end()


@pytest.fixture
def shop(tmp_path: Path, postgres_server: PostgresServer | None) -> Iterator[Shop]:
    database = postgres_server.create("shop") if postgres_server else f"sqlite:///{tmp_path}/shop.sqlite3"
    running = Shop(tmp_path, database)
    yield running
    running.end()


@pytest.fixture
def page(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> Iterator[Page]:
    """The overview, open from the beginning to the end."""
    monkeypatch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
    with open_browser() as browser, browser.visitor(base_url=shop.up.address) as visitor:
        page = visitor.new_page()
        page.goto("/sign-in/")
        page.get_by_label("User").fill("admin")
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_url(lambda url: "/sign-in/" not in url)
        yield page


def test_every_process_may_be_killed_and_no_job_is_lost(shop: Shop, page: Page) -> None:
    eventually(lambda: shop.ended() > 30, 60)
    shows_what_is(shop, page)
    for kill in (kill_web, kill_a_pool_process, kill_beat, kill_monitor, kill_redis):
        before = shop.ended()
        kill(shop)
        eventually(lambda before=before: shop.ended() > before + 20, 90, shop.up.process.text)  # type: ignore[misc]
        shows_what_is(shop, page)
    shop.stop_publishing()
    eventually(lambda: shop.has_nothing_left_to_do(), REDELIVERED_WITHIN, lambda: str(shop.open_jobs()))
    # The last job to end may have been redelivered a moment ago: what it told is still on its way.
    eventually(lambda: each_end_is_the_right_one(shop), 60, lambda: tell_apart(shop))
    assert handed_over_to_nobody(shop.open_jobs()), shop.open_jobs()
    published, states = shop.published(), shop.states()
    assert len(published) > 100
    assert published <= states.keys()
    assert counted(shop) == len(recorded_ends(shop))


def handed_over_to_nobody(still_open: list[tuple[Any, ...]]) -> bool:
    """Whether what is still open can only have been in Redis's hand to a worker as it was killed.

    That is at most one message a worker, which nobody has received.
    """
    return len(still_open) <= 3 and all(received_at is None for _, _, received_at in still_open)


def recorded_ends(shop: Shop) -> dict[str, str]:
    return {task_id: ENDS[state] for task_id, state in shop.states().items() if state in ENDS}


def stored_ends(shop: Shop) -> dict[str, str]:
    return {task_id: status for task_id, status in shop.results().items() if status in ENDS.values()}


def each_end_is_the_right_one(shop: Shop) -> bool:
    """Whether the record has the same ends as the table of results."""
    return recorded_ends(shop) == stored_ends(shop)


def tell_apart(shop: Shop) -> str:
    """The ends that only one of the two has, and what the record knows of jobs that are open."""
    return f"{recorded_ends(shop).items() ^ stored_ends(shop).items()}; open: {shop.open_jobs()}"


def counted(shop: Shop) -> int:
    return int(shop.ask("SELECT sum(succeeded + failed) FROM nightdesk_jobs_bucket WHERE tier = 60")[0][0])


def shows_what_is(shop: Shop, page: Page) -> None:
    """The page is live, and its number of successes has reached what was recorded a moment ago."""
    recorded = shop.ended()
    eventually(
        lambda: page.locator("#fresh[data-fresh=live]").count() == 1, 40, lambda: page.inner_text("body"), 0.2
    )
    eventually(lambda: ended_on(page) >= recorded, 40, lambda: page.inner_text("body"), 0.2)


def ended_on(page: Page) -> int:
    """Jobs that ended, as the overview says exactly."""
    told = page.locator('[data-key="figures.success.succeeded"], [data-key="figures.success.failed"]')
    return sum(int(text.replace(",", "")) for text in told.all_inner_texts())


def kill_web(shop: Shop) -> None:
    kill_program(shop, "web")


def kill_beat(shop: Shop) -> None:
    kill_program(shop, "beat")


def kill_monitor(shop: Shop) -> None:
    kill_program(shop, "monitor")


def kill_redis(shop: Shop) -> None:
    kill_program(shop, "redis")


def kill_a_pool_process(shop: Shop) -> None:
    main = shop.up.pids("worker-default")[-1]
    child = next(entry.pid for entry in process_table() if entry.parent == main)
    os.kill(child, signal.SIGKILL)
    eventually(_is_replaced(main, child), 30)


def _is_replaced(main: int, child: int) -> Callable[[], bool]:
    def check() -> bool:
        children = [entry.pid for entry in process_table() if entry.parent == main]
        return child not in children and len(children) >= 2

    return check


def kill_program(shop: Shop, name: str) -> None:
    """SIGKILL to the program itself, not to its group."""
    pid = shop.up.pids(name)[-1]
    os.kill(pid, signal.SIGKILL)
    shop.up.comes_back(name, pid)
