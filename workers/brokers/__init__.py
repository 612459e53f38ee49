"""What a message broker can tell about the jobs that wait in it.

Not every broker can tell everything: what it can't tell is None, and the page
shows "?". Nothing here is called inside a web request; the monitor samples.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from workers.brokers.broker import Broker, BrokerUnreachable, QueueDepth, Waiting
from workers.brokers.rabbitmq import RabbitBroker
from workers.brokers.redis import RedisBroker

__all__ = ["Broker", "BrokerUnreachable", "QueueDepth", "Waiting", "can_purge", "connect"]


def connect(url: str) -> Broker:
    """The broker at `url`; ValueError if its kind is not known. Connects on first use."""
    scheme = urlsplit(url).scheme
    if scheme in RedisBroker.schemes:
        return RedisBroker(url)
    if scheme in RabbitBroker.schemes:
        return RabbitBroker(url)
    raise ValueError(f"no broker is known for {scheme}:// addresses")


def can_purge(url: str) -> bool:
    """Whether the broker at `url` can say what it deletes, and leave what came later."""
    return urlsplit(url).scheme in RedisBroker.schemes
