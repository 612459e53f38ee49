"""Setups of workers and of the broker, as they are told: well, and ill in every way that Coverage knows."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from jobs.models import Gap, Heartbeat, Producer, Quarantine, Worker
from jobs.servers import ServerFacts, ServerSample
from jobs.worker_facts import worker_facts

TASKS = {
    "total": 12, "late": 12, "late_unlimited": 0, "late_longest": 1800.0, "ignored": 1, "silent": 0,
    "limited": 12, "soft_limited": 12,
}  # fmt: skip
SETUP = {
    "recorder": "0.1.0", "python": "3.11.2", "celery": "5.7.0", "kombu": "5.7.0", "billiard": "4.3.2",
    "redis": "8.0.1", "pool": "prefork", "prefetch": 1, "transport": "redis", "visibility_timeout": 3600.0,
    "requeues_lost": False,
}  # fmt: skip
RABBIT = {
    "version": "3.13.7", "queues": 3, "quorum": 2, "classic": 1, "prioritised": 3, "transient": 0,
    "overflowing": 0, "consumer_timeout": None, "confirms": True, "heartbeat": 120.0,
}  # fmt: skip
COUNTS = {"events": True, "received": 18_400, "unstamped": 0, "faults": 0, "dropped": 0}
# Of a worker that acknowledges all of its jobs at their end, or at their start.
LATE: dict[str, Any] = {
    "pool": "prefork", "transport": "redis", "visibility_timeout": 3600.0,
    "tasks": {"total": 4, "late": 4, "late_unlimited": 0, "late_longest": 900.0},
}  # fmt: skip
EARLY = {**LATE, "tasks": {"total": 4, "late": 0}}
WELL = ServerFacts(
    version="7.2.4",
    started_at=1_790_000_000.0,
    eviction="noeviction",
    used_memory=48_300_000,
    max_memory=2_000_000_000,
    evicted_keys=0,
    append_only=True,
    append_sync="always",
    snapshots="",
    last_snapshot_ok=True,
    last_append_ok=True,
)


def told(tasks: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    """The columns of a worker that tells this setup; `changes` are of SETUP, or of COUNTS."""
    counts = {name: changes.pop(name, value) for name, value in COUNTS.items()}
    return worker_facts({**counts, "setup": {**SETUP, **changes, "tasks": {**TASKS, **(tasks or {})}}})


def a_worker(now: datetime, name: str = "default@ams-1", **changes: Any) -> Worker:
    """A worker that has told how it is set up."""
    facts = {"slots": 4, "queues": "default", "online_at": now - timedelta(hours=7), "seen_at": now}
    return Worker.objects.create(producer=name, name=name, **facts, **told(**changes))


def a_worker_of_rabbitmq(now: datetime, name: str = "amqp@ams-4", **changes: Any) -> Worker:
    """A worker that reads from a RabbitMQ; `changes` are of RABBIT, or the columns of a worker's tasks."""
    tasks = changes.pop("tasks", None)
    rabbit = {**RABBIT, **changes}
    return a_worker(now, name, transport="amqp", visibility_timeout=None, rabbitmq=rabbit, tasks=tasks)


def a_broker(now: datetime, *, ok: bool = True, **changes: Any) -> None:
    """A Redis that has told how it is."""
    at = now.timestamp()
    sample = ServerSample(replace(WELL, **changes), at, dict.fromkeys(changes, at - 3600))
    beat("broker", now, ok=ok, server=sample.as_json())


def a_monitor(now: datetime, **changes: Any) -> None:
    stream = {"name": "nightdesk:events", "length": 210, "cap": 500_000}
    beat("monitor", now, **{"leading": True, "lag": 0.1, "pace": 213.4, "stream": stream, **changes})


def beat(name: str, now: datetime, **detail: Any) -> None:
    facts = {"at": now, "host": "ams-1", "pid": 4000, "detail": json.dumps(detail)}
    Heartbeat.objects.update_or_create(name=name, defaults=facts)


def all_is_well(now: datetime) -> None:
    """What the processes of a good installation tell."""
    a_monitor(now)
    a_broker(now)
    beat("beat", now)
    for worker in Worker.objects.all():
        Worker.objects.filter(pk=worker.pk).update(**told())
    Producer.objects.create(id="0f3a91c2", last_seq=91_000, seen_at=now)


def much_is_ill(now: datetime) -> None:
    """Findings of every kind, all at once."""
    a_monitor(now, stream={"name": "nightdesk:events", "length": 430_000, "cap": 500_000})
    a_broker(
        now, version="6.2.6", eviction="allkeys-lru", used_memory=1_900_000_000, evicted_keys=312,
        append_only=False, append_sync="everysec", snapshots="3600 1 300 100", last_snapshot_ok=False,
    )  # fmt: skip
    a_worker(now, "legacy@ams-2", events=False, celery="5.6.3", kombu="5.6.2", redis="6.1.0", prefetch=4)
    endless = {"late": 4, "late_unlimited": 3, "silent": 2}
    a_worker(now, "imports@ams-2", tasks=endless, pool="threads", unstamped=310, faults=2, dropped=1_204)
    a_worker(
        now, "reports@ams-3", pool="gevent", prefetch=0, requeues_lost=True, celery="5.5.3", kombu="5.5.4"
    )
    a_worker_of_rabbitmq(
        now, transient=1, overflowing=1, prioritised=0, confirms=False, consumer_timeout=1800.0
    )
    Worker.objects.create(producer="old", name="old@ams-9", seen_at=now, online_at=now - timedelta(days=2))
    Producer.objects.create(id="c0ffee77aa", last_seq=10, lost=1_204, seen_at=now)
    Producer.objects.create(id="imports@ams-2", last_seq=10, lost=3, seen_at=now)
    for minutes, reason, lost in ((50, "sequence", 402), (49, "cap", None), (48, "sequence", 402)):
        ended = now - timedelta(minutes=minutes)
        a_gap(ended, reason=reason, lost=lost)
    set_aside(now, "no task id", 7, "{'type': 'task-sent', 'password': 'hunter2hunter2', 'args': '(1,)'}")
    set_aside(
        now, "the recorder failed", 2, "{'type': 'recorder-fault', 'hook': 'stamp', 'fault': 'KeyError'}"
    )


def set_aside(now: datetime, reason: str, count: int, sample: str) -> None:
    first = now - timedelta(hours=2)
    Quarantine.objects.create(reason=reason, count=count, first_at=first, last_at=now, sample=sample)


def a_gap(ended: datetime, seconds: float = 31, **facts: Any) -> Gap:
    began = ended - timedelta(seconds=seconds)
    source = "nightdesk:events"
    return Gap.objects.create(
        **{"source": source, "reason": "sequence", **facts}, began_at=began, ended_at=ended
    )
