"""The dead-man ping: given while the monitor really works, and by nobody who merely runs."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from jobs.models import Heartbeat
from tests.harness import Installation, eventually
from tests.receivers import web
from workers.monitor import deadman
from workers.monitor.deadman import Deadman, Progress, Signs, why_silent

NOW = datetime(2026, 11, 22, 3, tzinfo=UTC)
WELL = Signs(True, 0.0, 0.4, {name: NOW - timedelta(seconds=5) for name in deadman.SIGNS})
LONG_AGO = NOW - timedelta(seconds=31)


def test_a_monitor_that_works_gives_signs() -> None:
    assert why_silent(WELL, NOW) is None


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"leading": False}, "another monitor"),
        ({"reading": None}, "stream"),
        ({"reading": 61.0}, "stream"),
        ({"telling": None}, "notices"),
        ({"telling": 31.0}, "notices"),
        ({"heard": {"monitor": NOW}}, "of: alerts"),
        ({"heard": {"monitor": LONG_AGO, "alerts": NOW}}, "of: monitor"),
        ({"heard": {}}, "of: monitor, alerts"),
    ],
)
def test_one_loop_that_does_not_is_enough_to_be_silent(changed: dict[str, Any], why: str) -> None:
    assert why in (why_silent(replace(WELL, **changed), NOW) or "")


def test_reading_stands_still_while_there_is_more_and_nothing_is_read() -> None:
    lag: list[float | None] = [0.0]
    place, clock = ["1-0"], [100.0]
    progress = Progress(lambda: place[0], lambda: lag[0], lambda: clock[0])
    seen = []
    for seconds, behind, at in [
        (0, 0.0, "1-0"),
        (50, 0.0, "1-0"),
        (20, 20.0, "1-0"),
        (30, 50.0, "1-0"),
        (5, 3.0, "2-0"),
    ]:
        clock[0], lag[0], place[0] = clock[0] + seconds, behind, at
        seen.append(progress.standing())
    assert seen == [0, 0, 20, 50, 0]
    lag[0] = None
    assert progress.standing() is None


@pytest.mark.django_db
def test_a_sign_is_asked_for_at_the_address_and_written_down(settings: Any) -> None:
    with web() as received:
        settings.DEADMAN_URL = f"http://127.0.0.1:{received.port}/ping/a-token"
        now = datetime.now(UTC)
        for name in deadman.SIGNS:
            Heartbeat.objects.create(name=name, at=now, host="h", pid=1)
        loop = Deadman(lambda: True, Progress(lambda: "1-0", lambda: 0.0), lambda: 0.1)

        def is_written_down() -> bool:
            loop._round()
            return Heartbeat.objects.filter(name="deadman").exists()

        eventually(is_written_down, 60)
    assert [path for path, _, _ in received.requests] == ["/ping/a-token"]
    assert '"ok":true' in Heartbeat.objects.get(name="deadman").detail


@pytest.mark.django_db
def test_without_signs_of_the_loops_nobody_is_asked(settings: Any, caplog: pytest.LogCaptureFixture) -> None:
    with web() as received:
        settings.DEADMAN_URL = f"http://127.0.0.1:{received.port}/ping/a-token"
        loop = Deadman(lambda: True, Progress(lambda: "1-0", lambda: 0.0), lambda: 0.1)
        for _ in range(3):
            loop._round()
        assert loop._courier is None
    assert received.connections == 0
    assert "a-token" not in caplog.text


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_a_whole_monitor_gives_signs_while_it_runs(installation: Installation) -> None:
    with web() as received:
        url = f"http://127.0.0.1:{received.port}/ping"
        monitor = installation.monitor(DEADMAN_URL=url, DEADMAN_EVERY="5")
        eventually(lambda: len(received.requests) >= 2, 90, lambda: monitor.text()[-3000:])
        monitor.stop()
        asked = len(received.requests)
        installation.manage("monitor", DEADMAN_URL="").says("the monitor runs")
        assert len(received.requests) == asked
