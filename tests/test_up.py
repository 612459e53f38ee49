"""`manage.py up`: serves, restarts what dies, and leaves nothing behind."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.harness import eventually
from tests.harness.installation import answers
from tests.harness.processes import ROOT, Process, clean_environment, free_port, python
from tests.harness.up import Up, is_gone, wardens_of
from workers.supervisor.supervisor import next_delay, said_of_end

Starter = Callable[..., Up]


@pytest.fixture(scope="session")
def static_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The static files, collected once: compressing them is most of a first start."""
    folder = tmp_path_factory.mktemp("static")
    code = "import django; django.setup(); from workers.supervisor import prepare; prepare.collect_static()"
    env = clean_environment(folder, DATA_DIR=str(folder), DJANGO_SETTINGS_MODULE="dashboard.settings")
    assert Process(python("-c", code), env, folder / "log").wait(120) == 0, (folder / "log").read_text()
    return folder / "static"


@pytest.fixture
def hangups() -> Iterator[None]:
    """What is started here hears of a terminal that closes, even where the tests run under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.fixture
def up(tmp_path: Path, static_files: Path) -> Iterator[Starter]:
    started: list[Up] = []
    shutil.copytree(static_files, tmp_path / "data" / "static")

    def start(stdin: int = subprocess.DEVNULL, /, **settings: str) -> Up:
        started.append(Up(tmp_path, stdin, **settings))
        return started[-1]

    yield start
    for each in started:
        each.end()


def refused(tmp_path: Path, **settings: str) -> str:
    """The one line with which `up` refuses to start."""
    env = clean_environment(
        tmp_path, **{"DATA_DIR": str(tmp_path / "data"), "PORT": str(free_port()), **settings}
    )
    process = Process(python(str(ROOT / "manage.py"), "up"), env, tmp_path / "refused.log")
    try:
        assert process.wait(30) != 0
    finally:
        process.kill()
    lines = process.text().strip().splitlines()
    assert len(lines) == 1, process.text()
    return lines[0]


def test_it_serves_restarts_what_dies_and_stops_clean(up: Starter) -> None:
    running = up()
    running.is_ready()
    for name in ("web", "worker-default", "redis"):
        victim = running.pids(name)[-1]
        os.kill(victim, signal.SIGKILL)
        running.process.says(f"{name} (pid {victim}) was ended by SIGKILL; it starts again in 0.5 s")
        running.comes_back(name, victim)
        eventually(partial(is_gone, victim), message=f"the group of {name} is gone")
    eventually(lambda: answers(f"{running.address}/healthz"), 30, running.process.text)
    assert_styled(running)
    running.process.send(signal.SIGTERM)
    assert running.process.wait(25) == 0
    running.has_left_nothing(timeout=0)


def assert_styled(running: Up) -> None:
    """Everything that the sign-in page links to is served."""
    with urllib.request.urlopen(f"{running.address}/", timeout=10) as page:
        links = re.findall(r'(?:href|src)="(/static/[^"#]+)', page.read().decode())
    assert any(link.endswith(".css") for link in links)
    assert [link for link in links if not answers(running.address + link)] == []


@pytest.mark.slow
def test_a_second_signal_kills_at_once(up: Starter) -> None:
    running = up(STOP_GRACE="600")
    running.is_ready()
    eventually(lambda: "default-1@" in running.process.text() and " ready." in running.process.text(), 30)
    os.kill(running.pids("worker-default")[-1], signal.SIGSTOP)  # it can't stop by itself
    running.process.send(signal.SIGINT)
    running.process.says("SIGINT: ")
    running.process.send(signal.SIGINT)
    assert running.process.wait(5) == 1
    running.has_left_nothing()


@pytest.mark.slow
@pytest.mark.usefixtures("hangups")
def test_a_killed_up_leaves_nothing_behind_and_can_start_again(up: Starter) -> None:
    """Even if its warden was killed before. The password it made up is told the first time alone.

    The second one stops with its terminal.
    """
    killed = up(ADMIN_PASSWORD="")
    killed.is_ready()
    assert "Sign in as admin with the password " in killed.process.text()
    [first] = wardens_of(killed.process.pid)
    os.kill(first, signal.SIGKILL)
    [second] = eventually(lambda: [pid for pid in wardens_of(killed.process.pid) if pid != first])
    killed.process.kill()
    ours, theirs = os.openpty()
    again = up(theirs, ADMIN_PASSWORD="")
    os.close(theirs)
    again.process.says("Sign in as admin ", 60)
    assert "Sign in as admin with the password you have" in again.process.text()
    killed.has_left_nothing(timeout=0)
    assert is_gone(second), "the warden itself"
    os.close(ours)
    assert again.process.wait(25) == 0
    assert "SIGHUP: running jobs get up to" in again.process.text()


def test_a_second_up_on_the_same_folder_is_refused(up: Starter, tmp_path: Path) -> None:
    running = up()
    running.process.says("redis runs as pid")
    line = refused(tmp_path)
    assert f"another `up` (pid {running.process.pid}) works on {tmp_path / 'data'}" in line


def test_a_taken_port_is_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert f"can't listen on 127.0.0.1:{port}: it is taken" in refused(tmp_path, PORT=str(port))


def test_a_folder_that_can_not_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    assert "can't be made" in refused(tmp_path, DATA_DIR=str(tmp_path / "file" / "data"))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"REDIS_URL": "redis://127.0.0.1:1/0"}, "REDIS_URL can't be reached"),
        ({"REDIS_URL": "http://example.com"}, "REDIS_URL is 'http://example.com'"),
        ({"QUEUES": "high"}, "QUEUES part 'high' is not name:target seconds:slots"),
        ({"PORT": "many"}, '"PORT" invalid'),
        ({"DATABASE_URL": "postgresql://u:secret@host/"}, "DATABASE_URL is 'postgresql://***@host/'"),
    ],
)
def test_a_wrong_value_is_one_line(tmp_path: Path, settings: dict[str, str], words: str) -> None:
    line = refused(tmp_path, **settings)
    assert words in line
    assert "secret" not in line


def test_a_file_that_is_no_database_is_one_line(tmp_path: Path) -> None:
    broken = tmp_path / "broken.sqlite3"
    broken.write_bytes(b"not a database, " * 100)
    process_lines = refused_after_start(tmp_path, DATABASE_URL=f"sqlite:///{broken}")
    assert f"the database {broken} can't be used" in process_lines[-1]
    assert not any("Traceback" in line for line in process_lines)


@pytest.mark.parametrize("where", ["u:secret@127.0.0.1:1/db", "u:secret@/db?host=/nowhere"])
def test_a_database_that_is_not_there_is_one_line(tmp_path: Path, where: str) -> None:
    lines = refused_after_start(tmp_path, DATABASE_URL=f"postgresql://{where}")
    assert "the database db can't be used: " in lines[-1]
    assert "secret" not in lines[-1]
    assert not any("Traceback" in line for line in lines)


def refused_after_start(tmp_path: Path, **settings: str) -> list[str]:
    running = Up(tmp_path, **settings)
    try:
        assert running.process.wait(30) != 0
        running.has_left_nothing(timeout=0) if running.groups() else None
    finally:
        running.end()
    return running.process.text().strip().splitlines()


def test_the_delay_doubles_to_half_a_minute_and_is_forgotten_after_a_steady_minute() -> None:
    delays = [next_delay(0, 0)]
    for _ in range(8):
        delays.append(next_delay(delays[-1], lived=1))
    assert delays == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]
    assert next_delay(30, lived=60) == 0.5


def test_an_end_is_told_in_words() -> None:
    assert said_of_end(3) == "ended with exit code 3"
    assert said_of_end(-9) == "was ended by SIGKILL"
