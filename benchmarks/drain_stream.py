"""Drain the stream into the record with the monitor's own loop, in a process of its own.

usage: python -m benchmarks.drain_stream EVENTS [PROFILE]
Where and into what stands in the environment, as for the product. Ends once so many events are
committed; says in JSON how many seconds that took from the first read on, its CPU seconds, how many of them
were those of the process that writes, and the most memory both had. PROFILE is a file for cProfile's figures.
"""

from __future__ import annotations

import cProfile
import json
import os
import resource
import sys
import threading
import time
from contextlib import nullcontext
from pathlib import Path

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "dashboard.settings")

import django

django.setup()

from django.conf import settings

from jobs.record import Committed
from jobs.store import checkpoints
from tests.harness.processes import children_of
from workers.monitor.checkpoint import Checkpointer
from workers.monitor.ingest import Ingest


def main(events: int, profile: str | None) -> None:
    stop, seen, peak = threading.Event(), 0, 0

    def count(committed: Committed) -> None:
        nonlocal seen, peak
        seen += committed.events
        if seen >= events:
            peak = sum(map(peak_kb, (os.getpid(), *children_of(os.getpid()))))
            stop.set()

    checkpoints.leave_to_a_loop()
    ingest = Ingest(settings.REDIS_URL, committed=count)
    threading.Thread(target=Checkpointer().run, args=(stop,)).start()
    profiler = cProfile.Profile() if profile else None
    began, used = time.monotonic(), time.process_time()
    with profiler or nullcontext():
        ingest.run(stop)
    seconds, cpu = time.monotonic() - began, time.process_time() - used
    if profiler and profile:
        profiler.dump_stats(profile)
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    writer_cpu = ended.ru_utime + ended.ru_stime
    told = {"seconds": seconds, "cpu": cpu + writer_cpu, "writer_cpu": writer_cpu, "peak_kb": peak}
    print(json.dumps(told), flush=True)


def peak_kb(pid: int) -> int:
    """The most memory that a process had."""
    [line] = [x for x in Path(f"/proc/{pid}/status").read_text().splitlines() if x.startswith("VmHWM:")]
    return int(line.split()[1])


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else None)
