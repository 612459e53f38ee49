"""Drain the stream into the record with the monitor's own loop, in a process of its own.

usage: python -m benchmarks.drain_stream EVENTS [PROFILE]
Where and into what stands in the environment, as for the product. Ends once so many events are
committed; says in JSON how many seconds that took from the first read on, its CPU seconds and the most
memory it had. PROFILE is a file for cProfile's figures.
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

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "dashboard.settings")

import django

django.setup()

from django.conf import settings

from jobs.record import Committed
from jobs.store import checkpoints
from workers.monitor.checkpoint import Checkpointer
from workers.monitor.ingest import Ingest


def main(events: int, profile: str | None) -> None:
    stop, seen = threading.Event(), 0

    def count(committed: Committed) -> None:
        nonlocal seen
        seen += committed.events
        if seen >= events:
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
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps({"seconds": seconds, "cpu": cpu, "peak_kb": peak}), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else None)
