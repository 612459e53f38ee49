"""Ends what a killed `manage.py up` leaves behind.

A program of its own, run by path, with the standard library only. It reads
lines from a pipe whose one writer is `up`: "+<process group> <stage>" and
"-<process group>". When the pipe closes, it asks the leaders of the groups
that are left to stop, stage by stage, and kills the groups that don't. After an
orderly stop none is left, and it just ends.

usage: warden.py <grace in seconds>
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterable


def main(grace: float) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    left = groups_left(sys.stdin)
    deadline = time.monotonic() + grace
    for stage in sorted(set(left.values())):
        stop([group for group, its_stage in left.items() if its_stage == stage], deadline)


def groups_left(lines: Iterable[str]) -> dict[int, int]:
    """Process group -> stage, of those announced and not taken back, once the pipe has closed."""
    left: dict[int, int] = {}
    for line in lines:
        if line.startswith("+"):
            group, stage = line[1:].split()
            left[int(group)] = int(stage)
        else:
            left.pop(int(line[1:]), None)
    return left


def stop(groups: list[int], deadline: float) -> None:
    """Ask the leaders, wait until they are gone or `deadline`, then kill what is left of the groups."""
    for group in groups:
        _signal(os.kill, group, signal.SIGTERM)
    while any(_is_there(group) for group in groups) and time.monotonic() < deadline:
        time.sleep(0.05)
    for group in groups:
        _signal(os.killpg, group, signal.SIGKILL)


def _is_there(leader: int) -> bool:
    try:
        os.kill(leader, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def _signal(send: Callable[[int, int], None], group: int, number: int) -> None:
    try:
        send(group, number)
    except (ProcessLookupError, PermissionError):
        return  # it is gone, and its number may be another's


if __name__ == "__main__":
    main(float(sys.argv[1]))
