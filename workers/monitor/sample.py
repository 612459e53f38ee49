"""The loop that looks at the broker and the workers, and writes down how they stood.

Pages read these samples: a web request never asks a broker.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
from django.conf import settings

from jobs import values
from jobs.fleet import told
from jobs.headlines import MINUTE
from jobs.job_frame import epoch
from jobs.liveness import behind_since
from jobs.models import Heartbeat, QueueSample, Worker, WorkerSample
from jobs.servers import sample_of, sampled
from jobs.trust import detail_of, told_behind_since
from workers.brokers import Broker, BrokerUnreachable, QueueDepth, connect
from workers.monitor.rounds import go_round

INTERVAL = 5.0
# A worker that was silent for this long is not counted among the known any more.
KNOWN_FOR = timedelta(minutes=30)
ONLINE_FOR = timedelta(seconds=15)


@dataclass(frozen=True)
class Reader:
    """What the loop that reads the stream can be asked, from another thread.

    `lag` tells how old the first event is that is not recorded yet, in
    seconds; `pace` events recorded a second; `stream` how the stream stands,
    as JSON. Each gives None where it can't be told.
    """

    leading: Callable[[], bool]
    lag: Callable[[], float | None]
    pace: Callable[[], float | None]
    stream: Callable[[], dict[str, Any] | None]


class Sampler:
    """Samples every INTERVAL seconds; `sampled` is called after each round and must not block."""

    def __init__(self, reader: Reader, sampled: Callable[[], None]) -> None:
        self._reader = reader
        self._sampled = sampled
        self._broker: Broker | None = None
        self._redis: Broker | None = None
        self._minute = 0

    def run(self, stop: threading.Event) -> None:
        """Work until told to stop; a standby only gives its sign of life."""
        go_round(self._round, stop, INTERVAL, "a sample is missing")

    def _round(self) -> None:
        if self._reader.leading():
            now = datetime.now(UTC)
            self._sample_queues(now)
            sample_workers(now, each=self._begins_minute(now))
            self._sample_monitor(now)
            self._sampled()

    def _begins_minute(self, now: datetime) -> bool:
        """Whether this is the first round of its minute."""
        before, self._minute = self._minute, int(now.timestamp() // MINUTE)
        return self._minute != before

    def _sample_queues(self, now: datetime) -> None:
        before = sample_of(_detail("broker").get("server"))
        try:
            broker = self._broker = self._broker or connect(settings.CELERY_BROKER_URL)
            latency = broker.latency()
            depths = broker.sample(sorted(set(settings.QUEUES) | broker.discover()))
            server = sampled(self._server(broker).describe(), now.timestamp(), before)
        except BrokerUnreachable as fault:
            last_known = before.as_json() if before else None
            beat("broker", now, {"ok": False, "latency": None, "error": str(fault), "server": last_known})
            return
        beat("broker", now, {"ok": True, "latency": latency, "error": None, "server": server.as_json()})
        QueueSample.objects.bulk_create([_queue_sample(now, name, depth) for name, depth in depths.items()])

    def _server(self, broker: Broker) -> Broker:
        """The Redis, which is the stream's also where the broker is a RabbitMQ."""
        if not settings.BROKER_URL:
            return broker
        self._redis = self._redis or connect(settings.REDIS_URL)
        return self._redis

    def _sample_monitor(self, now: datetime) -> None:
        before = Heartbeat.objects.filter(name="monitor").first()
        lag = self._reader.lag()
        behind = behind_since(told_behind_since(before), before.at if before else None, lag, now)
        detail = {"leading": True, "lag": lag, "behind_since": epoch(behind)}
        beat("monitor", now, {**detail, "pace": self._reader.pace(), "stream": self._reader.stream()})


def _detail(name: str) -> dict[str, Any]:
    return detail_of(Heartbeat.objects.filter(name=name).first())


def _queue_sample(now: datetime, queue: str, depth: QueueDepth) -> QueueSample:
    counts = depth.priorities
    return QueueSample(
        queue=queue,
        at=now,
        depth=depth.depth,
        oldest_at=depth.oldest_at,
        unacked=depth.unacked,
        priorities=values.storable_json({str(one): count for one, count in counts.items()})
        if counts
        else None,
    )


def sample_workers(now: datetime, *, each: bool = False) -> None:
    """Write down the capacity of this moment; with `each`, how each worker stood."""
    known = list(Worker.objects.filter(offline_at=None, seen_at__gt=now - KNOWN_FOR))
    online = [worker for worker in known if worker.seen_at > now - ONLINE_FOR]
    busy = [worker.busy for worker in online]
    slots = [worker.slots for worker in online]
    WorkerSample.objects.create(
        at=now,
        online=len(online),
        known=len(known),
        busy=_sum_if_known(busy),
        slots=_sum_if_known(slots),
        each=told(known, now) if each else None,
    )


def _sum_if_known(values: list[int | None]) -> int | None:
    told = [value for value in values if value is not None]
    return sum(told) if len(told) == len(values) else None


def beat(name: str, now: datetime, detail: dict[str, object]) -> None:
    """Give a sign of life."""
    Heartbeat.objects.update_or_create(
        name=name,
        defaults={
            "at": now,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "detail": orjson.dumps(detail).decode(),
        },
    )
