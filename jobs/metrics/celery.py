"""The families of celery-exporter, with its names and labels: pure. docs/metrics.md says where we differ."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable

from jobs.liveness import queues_of
from jobs.metrics import shown
from jobs.metrics.counting import ANYBODY, FAILED, KINDS, QUEUE, Key, Tally
from jobs.metrics.families import COUNTER, GAUGE, HISTOGRAM, Family, Labels
from jobs.metrics.look import Look
from jobs.metrics.queues import deepest

HELP = {
    "sent": "Messages published, retries included.",
    "received": "Messages that a worker has received.",
    "started": "Attempts that have begun to run.",
    "retried": "Attempts that failed and will be retried.",
    "succeeded": "Attempts that succeeded.",
    "failed": "Attempts that failed.",
    "revoked": "Attempts that were revoked.",
    "rejected": "Attempts that were rejected.",
}


def families(look: Look) -> list[Family]:
    """All of them."""
    rows = [(key, tally) for key, tally in look.series.items() if key.axis == QUEUE]
    return [*_of_tasks(rows, look.now.timestamp()), *_of_workers(look), *_of_queues(look)]


def _of_tasks(rows: Iterable[tuple[Key, Tally]], now: float) -> list[Family]:
    counters = [Family(f"celery_task_{kind}", COUNTER, HELP[kind]) for kind in KINDS]
    run = Family("celery_task_runtime", HISTOGRAM, "Seconds that jobs ran which succeeded.")
    wait = Family("celery_task_queue_wait_time", HISTOGRAM, "Seconds from publish, or eta, to start.")
    for key, tally in rows:
        labels = (("name", key.task), ("hostname", ANYBODY), ("queue_name", key.place))
        for kind, counter in enumerate(counters):
            if kind != FAILED:
                counter.add(labels, shown.count(tally, kind, now))
        _add_failures(counters[FAILED], labels, tally, now)
        run.add_histogram(labels, shown.RUN_LABELS, shown.observed(tally, tally.run, now))
        wait.add_histogram(labels, shown.WAIT_LABELS, shown.observed(tally, tally.wait, now))
    return [*counters, run, wait]


def _add_failures(family: Family, labels: Labels, tally: Tally, now: float) -> None:
    """By exception; and one without, at 0, for those who divide by it."""
    family.add((*labels, ("exception", "")), 0)
    for name, (count, born) in tally.exceptions.items():
        family.add((*labels, ("exception", name)), int(count) if shown.settled(born, now) else 0)


def hostname_of(worker: str) -> str:
    """What follows the @ of its name."""
    return worker.partition("@")[2] or worker


def _of_workers(look: Look) -> list[Family]:
    """A host is up while all workers of it are that should be."""
    up = Family("celery_worker_up", GAUGE, "1 while every worker of the host is there, 0 for a day after.")
    active = Family("celery_worker_tasks_active", GAUGE, "Jobs that run on the host's workers.")
    hosts = dict.fromkeys((hostname_of(name) for name in look.stopped), False)
    running = Counter[str]()
    known: dict[str, list[bool]] = defaultdict(list)
    for worker, state in look.workers:
        known[hostname_of(worker.name)].append(state != "dead")
        running[hostname_of(worker.name)] += (worker.busy or 0) if state != "dead" else 0
    for host, there in sorted({**hosts, **{host: all(there) for host, there in known.items()}}.items()):
        up.add([("hostname", host)], int(there))
        active.add([("hostname", host)], running[host])
    return [up, active]


def _of_queues(look: Look) -> list[Family]:
    length = Family("celery_queue_length", GAUGE, "Messages that wait, of all priorities.")
    workers = Family("celery_active_worker_count", GAUGE, "Workers that take from the queue.")
    consumers = Family("celery_active_consumer_count", GAUGE, "Consumers of the queue: one a worker.")
    processes = Family("celery_active_process_count", GAUGE, "Slots of the workers that take from the queue.")
    served, slots = Counter[str](), Counter[str]()
    for worker in look.online:
        for queue in queues_of(worker):
            served[queue] += 1
            slots[queue] += worker.slots or 0
    for queue, samples in deepest(look.queues):
        labels = [("queue_name", queue)]
        known = [sample.depth for sample in samples if sample.depth is not None]
        if known:
            length.add(labels, sum(known))
        names = [sample.queue for sample in samples]
        workers.add(labels, sum(served[name] for name in names))
        consumers.add(labels, sum(served[name] for name in names))
        processes.add(labels, sum(slots[name] for name in names))
    return [length, workers, consumers, processes]
