"""The families of Flower, with its names and labels: pure. docs/metrics.md says where we differ."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping

from django.conf import settings

from jobs.metrics import shown
from jobs.metrics.counting import ANYBODY, KINDS, OTHER, SENT, UNKNOWN, WORKER, Key, Tally
from jobs.metrics.families import COUNTER, GAUGE, HISTOGRAM, Family
from jobs.metrics.look import Look
from jobs.seen import DEAD_SHOWN_FOR

# The time between a receipt and its start is that of the last job for so long, then 0: Flower's is 0
# as soon as the job ends, and a scrape sees it by chance.
PREFETCH_SHOWN_FOR = 60.0
NOBODY = frozenset({ANYBODY, OTHER, UNKNOWN})


def families(look: Look) -> list[Family]:
    """All of them."""
    now = look.now.timestamp()
    present = {*(worker.name for worker, _ in look.workers), *look.stopped, *NOBODY}
    rows = [(key, tally) for key, tally in look.series.items() if _is_shown(key, tally, present, now)]
    return [*_of_tasks(rows, now), _prefetch_time(rows, now), _prefetched(rows, look), *_of_workers(look)]


def _is_shown(key: Key, tally: Tally, present: Collection[str], now: float) -> bool:
    """Workers that are there, and those that were within a day."""
    lately = now - tally.moved < DEAD_SHOWN_FOR.total_seconds()
    return key.axis == WORKER and (key.place in present or lately)


def _of_tasks(rows: Iterable[tuple[Key, Tally]], now: float) -> list[Family]:
    events = Family("flower_events", COUNTER, "What has happened to jobs, by type.")
    run = Family("flower_task_runtime_seconds", HISTOGRAM, "Seconds that jobs ran which succeeded.")
    for key, tally in rows:
        labels = (("task", key.task), ("worker", key.place))
        kinds = [SENT] if key.place == ANYBODY else range(SENT + 1, len(KINDS))
        for kind in kinds:
            events.add((*labels, ("type", f"task-{KINDS[kind]}")), shown.count(tally, kind, now))
        if key.place != ANYBODY:
            run.add_histogram(labels, shown.RUN_LABELS, shown.observed(tally, tally.run, now))
    return [events, run]


def _prefetch_time(rows: Iterable[tuple[Key, Tally]], now: float) -> Family:
    family = Family(
        "flower_task_prefetch_time_seconds", GAUGE, "Seconds from receipt to start, of the last job started."
    )
    for key, tally in rows:
        if tally.prefetch is not None:
            seconds, at = tally.prefetch
            lately = now - at < PREFETCH_SHOWN_FOR
            family.add((("task", key.task), ("worker", key.place)), seconds if lately else 0.0)
    return family


def _prefetched(rows: Iterable[tuple[Key, Tally]], look: Look) -> Family:
    family = Family("flower_worker_prefetched_tasks", GAUGE, "Jobs with a worker that have not started.")
    there = {worker.name for worker, state in look.workers if state != "dead"}
    # Where jobs have waited before, none is 0, so that a panel shows a line.
    none = {(key.place, key.task): 0 for key, tally in rows if tally.prefetch and key.place in there}
    for (worker, task), count in sorted({**none, **_bounded(look.prefetched)}.items()):
        family.add((("task", task), ("worker", worker)), count)
    return family


def _of_workers(look: Look) -> list[Family]:
    online = Family("flower_worker_online", GAUGE, "1 while the worker is there, 0 for a day after it died.")
    busy = Family("flower_worker_number_of_currently_executing_tasks", GAUGE, "Jobs that the worker runs.")
    there = {worker.name: (state != "dead", worker.busy) for worker, state in look.workers}
    for name, (alive, running) in sorted({**dict.fromkeys(look.stopped, (False, 0)), **there}.items()):
        labels = [("worker", name)]
        online.add(labels, int(alive))
        if running is not None or not alive:
            busy.add(labels, (running or 0) if alive else 0)
    return [online, busy]


def _bounded(prefetched: Mapping[tuple[str, str], int]) -> Counter[tuple[str, str]]:
    """The largest by worker and task, the rest by worker alone."""
    most = settings.METRICS_LABEL_SETS
    ordered = Counter(prefetched).most_common()
    bounded = Counter(dict(ordered[:most]))
    for (worker, _), count in ordered[most:]:
        bounded[(worker, OTHER)] += count
    return bounded
