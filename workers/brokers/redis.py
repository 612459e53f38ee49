"""Redis as a broker, read with one round trip for all queues."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

import orjson
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from jobs.servers import ServerFacts
from jobs.values import in_utc
from workers.brokers.broker import BrokerUnreachable, QueueDepth, Waiting
from workers.brokers.redis_facts import describe
from workers.brokers.redis_purge import purge
from workers.brokers.transport import STEPS

SEPARATOR = "\x06\x16"
BINDINGS = "_kombu.binding."
UNACKED = "unacked"
NOT_JOBS = ("celeryev", "pidbox")
# How many messages at the old end of a list are looked at: those that wait for their eta don't count.
LOOKED_AT = 3
MOST_URGENT = STEPS[-1]
TIMEOUT = 2.0


@dataclass(frozen=True)
class Step:
    """The list of one queue and priority: how long it is, and its oldest messages."""

    queue: str
    priority: int
    depth: int
    messages: list[bytes]


class RedisBroker:
    """kombu's lists: one for each queue and priority step, oldest message last."""

    schemes: ClassVar[frozenset[str]] = frozenset({"redis", "rediss", "unix", "redis+socket"})

    def __init__(self, url: str) -> None:
        # No retries: a broker that is away is told at once, and asked again with the next sample.
        self._client = redis.Redis.from_url(
            redis_address(url),
            socket_timeout=TIMEOUT,
            socket_connect_timeout=TIMEOUT,
            retry=Retry(NoBackoff(), 0),
        )

    def sample(self, queues: Sequence[str]) -> dict[str, QueueDepth]:
        steps = [(queue, step, step_key(queue, step)) for queue in queues for step in STEPS]
        with self._asking(), self._client.pipeline(transaction=False) as pipe:
            for _, _, key in steps:
                pipe.llen(key)
                pipe.lrange(key, -LOOKED_AT, -1)
            answers = pipe.execute()
        told = zip(steps, answers[::2], answers[1::2], strict=True)
        return _depths(
            queues, [Step(queue, MOST_URGENT - step, *said) for (queue, step, _), *said in told], time.time()
        )

    def unacked(self) -> int | None:
        with self._asking():
            return int(self._client.hlen(UNACKED))

    def discover(self) -> set[str]:
        with self._asking():
            bindings = list(self._client.scan_iter(match=f"{BINDINGS}*", count=1000, _type="set"))
            with self._client.pipeline(transaction=False) as pipe:
                for binding in bindings:
                    pipe.smembers(binding)
                members = pipe.execute()
        return set(queue_names(member for group in members for member in group))

    def latency(self) -> float:
        began = time.monotonic()
        with self._asking():
            self._client.ping()
        return time.monotonic() - began

    def describe(self) -> ServerFacts:
        with self._asking():
            return describe(self._client)

    def purge(
        self, queue: str, once: str, gone: Callable[[Sequence[Waiting]], None], *, begin: bool = True
    ) -> int | None:
        with self._asking():
            return purge(self._client, step_keys(queue), once, gone, begin=begin)

    def close(self) -> None:
        self._client.close()

    @contextmanager
    def _asking(self) -> Iterator[None]:
        try:
            yield
        except (redis.RedisError, OSError) as error:
            raise BrokerUnreachable(f"{type(error).__name__}: {error}") from error


def redis_address(url: str) -> str:
    """The address as redis-py reads it: kombu's redis+socket://path?virtual_host=n is unix://path?db=n."""
    parts = urlsplit(url)
    if parts.scheme != "redis+socket":
        return url
    database = parse_qs(parts.query).get("virtual_host", ["0"])[0]
    return f"unix://{parts.path}?db={database}"


def step_keys(queue: str) -> list[str]:
    """The lists of a queue, the most urgent first."""
    return [step_key(queue, step) for step in STEPS]


def step_key(queue: str, step: int) -> str:
    """The list of one priority: list 0 holds the most urgent."""
    return f"{queue}{SEPARATOR}{step}" if step else queue


def queue_names(members: Iterable[bytes]) -> Iterator[str]:
    """The queues of kombu's bindings (routing key, pattern, queue), without those of events and control."""
    for member in members:
        queue = member.decode(errors="replace").split(SEPARATOR)[-1]
        if queue and not any(word in queue for word in NOT_JOBS):
            yield queue


def waiting_since(message: bytes, now: float) -> float | None:
    """Since when this message waits (epoch seconds); None if that can't be told or it is not due yet."""
    try:
        headers = orjson.loads(message)["headers"]
        published = float(headers["nightdesk"]["at"])
        eta = _epoch(headers.get("eta"))
    except (ValueError, KeyError, TypeError):
        return None
    if eta is not None and eta > now:
        return None
    return max(published, eta or published)


def _epoch(text: Any) -> float | None:
    if text is None:
        return None
    moment = datetime.fromisoformat(text)
    return in_utc(moment).timestamp()


def _depths(queues: Sequence[str], steps: Sequence[Step], now: float) -> dict[str, QueueDepth]:
    waiting: dict[str, dict[int, int]] = {queue: {} for queue in queues}
    oldest: dict[str, float] = {}
    for step in steps:
        if step.depth:
            waiting[step.queue][step.priority] = step.depth
        since = [moment for message in step.messages if (moment := waiting_since(message, now)) is not None]
        if since:
            oldest[step.queue] = min([*since, oldest.get(step.queue, since[0])])
    return {
        queue: QueueDepth(sum(counts.values()), _moment(oldest.get(queue)), None, counts)
        for queue, counts in waiting.items()
    }


def _moment(epoch: float | None) -> datetime | None:
    return None if epoch is None else datetime.fromtimestamp(epoch, UTC)
