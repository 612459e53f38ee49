"""What a worker tells of itself with its signs of life: how it is set up, and what was counted in it."""

from __future__ import annotations

import platform
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from celery import Celery

from nightdesk import paused, rabbitmq

VERSION = "0.1.0"
PACKAGES = ("celery", "kombu", "billiard", "redis")
CELERYS_OWN = "celery."
# Where the broker takes a message back that nobody acknowledged, unless told otherwise (kombu's default).
VISIBILITY_TIMEOUTS = {"redis": 3600.0, "sqs": 1800.0}
# The setup rides on `worker-online`, and on each so many-th heartbeat, since an event may be lost.
BEATS_BETWEEN_SETUPS = 30


@dataclass
class Counts:
    """What a recorder has counted since its process began."""

    received: int = 0
    unstamped: int = 0
    beats: int = 0

    def receipt(self, *, stamped: bool) -> None:
        """A message has arrived; `stamped`: its producer has a recorder."""
        self.received += 1
        self.unstamped += not stamped

    def setup_is_due(self, event_type: str) -> bool:
        """Whether this sign of life should carry the setup."""
        self.beats += 1
        return event_type == "worker-online" or self.beats % BEATS_BETWEEN_SETUPS == 0


def moving_facts(worker: Any, counts: Counts, faults: int, dropped: int) -> dict[str, Any]:
    """What may change from beat to beat.

    `events`: does it send the events of its jobs? `held`: queues that it does
    not read since it found them paused.
    """
    return {
        "events": _sends_task_events(worker),
        "received": counts.received,
        "unstamped": counts.unstamped,
        "faults": faults,
        "dropped": dropped,
        "held": sorted(paused.held_by(getattr(worker, "consumer", None))),
    }


def setup(app: Celery, worker: Any) -> dict[str, Any]:
    """How a worker is set up: versions, pool, limits in seconds, and counts of its tasks.

    What can't be told is None. `tasks` counts those of the program's own:
    `late` are acknowledged late, `late_unlimited` of them have no hard limit
    and `late_longest` is the longest one of the others; `silent` send no
    events; `limited` and `soft_limited` have a limit.
    """
    transport = _transport(app)
    return {
        "recorder": VERSION,
        "python": platform.python_version(),
        **{package: _version(package) for package in PACKAGES},
        "pool": pool_name(worker.pool_cls),
        "prefetch": worker.prefetch_multiplier,
        "transport": transport,
        "visibility_timeout": _visibility_timeout(app, transport),
        "requeues_lost": bool(app.conf.task_reject_on_worker_lost)
        and not app.conf.get("task_retry_on_worker_lost", False),
        "pool_restarts": bool(app.conf.worker_pool_restarts),
        "autoscale": getattr(worker, "autoscaler", None) is not None,
        "rabbitmq": rabbitmq.facts(app, worker) if transport == rabbitmq.TRANSPORT else None,
        "tasks": _task_counts(own_tasks(app), worker.time_limit, worker.soft_time_limit),
    }


def own_tasks(app: Celery) -> list[Any]:
    """The tasks that are not Celery's own."""
    return [task for name, task in app.tasks.items() if not name.startswith(CELERYS_OWN)]


def pool_name(pool_class: Any) -> str:
    """prefork, threads, solo, gevent or eventlet; the module of any other."""
    module = pool_class if isinstance(pool_class, str) else pool_class.__module__
    name = module.removeprefix("celery.concurrency.").split(":")[0]
    return "threads" if name == "thread" else str(name)


def _task_counts(tasks: Iterable[Any], hard: float | None, soft: float | None) -> dict[str, Any]:
    """`hard` and `soft` are the worker's own limits, for tasks without one."""
    known = list(tasks)
    late = [task.time_limit or hard for task in known if task.acks_late]
    return {
        "total": len(known),
        "late": len(late),
        "late_unlimited": sum(not limit for limit in late),
        "late_longest": max((float(limit) for limit in late if limit), default=None),
        "ignored": sum(bool(task.ignore_result) for task in known),
        "silent": sum(not task.send_events for task in known),
        "limited": sum(bool(task.time_limit or hard) for task in known),
        "soft_limited": sum(bool(task.soft_time_limit or soft) for task in known),
    }


def _sends_task_events(worker: Any) -> bool | None:
    """As it is now: remote control may have switched them."""
    dispatcher = getattr(getattr(worker, "consumer", None), "event_dispatcher", None)
    if dispatcher is None:
        return None
    return bool(dispatcher.enabled) and (not dispatcher.groups or "task" in dispatcher.groups)


def _transport(app: Celery) -> str | None:
    with app.connection_for_read() as connection:  # makes no connection as long as nobody asks for a channel
        told = connection.transport.driver_type
    return str(told) if told else None


def _visibility_timeout(app: Celery, transport: str | None) -> float | None:
    """Seconds; None where the broker itself knows when a worker is gone."""
    if transport not in VISIBILITY_TIMEOUTS:
        return None
    told = (app.conf.broker_transport_options or {}).get("visibility_timeout")
    return float(told) if told else VISIBILITY_TIMEOUTS[transport]


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
