"""A monitor leaves when it is told to, however often it is told."""

from __future__ import annotations

import signal

from tests.harness import Installation


def test_it_leaves_in_peace_though_it_is_told_many_times_at_once(installation: Installation) -> None:
    monitor = installation.monitor()
    monitor.says("the monitor runs")
    for _ in range(300):
        monitor.send(signal.SIGTERM)
    assert monitor.wait(20) == 0
