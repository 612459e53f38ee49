"""Celery's Redis transport with priorities as everywhere else: 9 is the most urgent.

Celery's own Redis transport serves the lowest number first. The number is
inverted here alone, where a message is put into (or back into) its list; the
message keeps the number that its producer gave, so that a retry, which
publishes again with that number, is not inverted twice.

A message whose header ONCE names it is taken once, however often it is
published: the script that pushes it sets a mark beside it.

It also mends what happens when Redis goes away under a running job: kombu's
channel then fails with an AttributeError, which ends the worker, or forgets
the acknowledgement, and the finished job runs again an hour later.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any, ClassVar

from kombu import transport
from kombu.transport import redis
from kombu.utils.json import dumps
from redis.exceptions import ConnectionError as RedisConnectionError

from workers.brokers.envelopes import Client

STEPS = tuple(range(10))
ALIASES = ("redis", "rediss")
ONCE = "nightdesk_once"
MARK = "nightdesk:once:"
# While somebody may still publish it again: as long as its row may wait for a database that is away …
MARKED_SECONDS = 7 * 86_400
# … and, once the row is gone, as long as a publisher may have been frozen with it in hand.
FROZEN_SECONDS = 900
_PUSH_ONCE = """
if redis.call('set', KEYS[1], '', 'NX', 'EX', ARGV[2]) then return redis.call('lpush', KEYS[2], ARGV[1]) end
return 0
"""

logger = logging.getLogger(__name__)


class QoS(redis.QoS):
    """Keeps an acknowledgement that Redis could not take, until it can."""

    # Of this process, not of a channel: a reconnect makes new channels. Tags are unique.
    late: ClassVar[set[str]] = set()

    def ack(self, delivery_tag: str) -> None:
        try:
            super().ack(delivery_tag)
        except self.channel.connection_errors as error:  # type: ignore[attr-defined]
            logger.warning("a finished job can't be acknowledged yet: %s", error)
            self.late.add(delivery_tag)
            self._quick_ack(delivery_tag)  # type: ignore[attr-defined]

    def forget(self, delivery_tag: str) -> None:
        """Somebody else has taken a message out of our hand, in Redis already."""
        self._quick_ack(delivery_tag)  # type: ignore[attr-defined]

    def restore_visible(self, start: int = 0, num: int = 10, interval: int = 10) -> None:
        """Hand out again what nobody acknowledged in time; first acknowledge what was late."""
        for tag in list(self.late):
            self._remove_from_indices(tag).execute()  # type: ignore[attr-defined]
            self.late.discard(tag)
        super().restore_visible(start, num, interval)


class Channel(redis.Channel):
    """A channel whose list 0, the one that is emptied first, holds priority 9."""

    QoS = QoS
    priority_steps = list(STEPS)

    def _get_message_priority(self, message: dict[str, Any], reverse: bool = False) -> int:
        return int(super()._get_message_priority(message, reverse=not reverse))

    def _put(self, queue: str, message: dict[str, Any], **kwargs: Any) -> None:
        once = message["headers"].pop(ONCE, None)  # a retry must not inherit it
        if once is None:
            super()._put(queue, message, **kwargs)
            return
        key = self._q_for_pri(queue, self._get_message_priority(message))  # type: ignore[attr-defined]
        push = (_PUSH_ONCE, 2, f"{MARK}{once}", key, dumps(message), MARKED_SECONDS)
        batch = kwargs.get("_publish_batch")
        if batch is not None:
            batch.add("eval", *push)
            return
        with self.conn_or_acquire() as client:
            client.eval(*push)

    def settled(self, keys: Iterable[str]) -> None:
        """Nobody will be told again to publish these: their marks need not stand for long."""
        with self.conn_or_acquire() as client, client.pipeline(transaction=False) as pipe:
            for key in keys:
                pipe.expire(f"{MARK}{key}", FROZEN_SECONDS)
            pipe.execute()

    def _get_client(self) -> Any:
        return super()._get_client() if self.global_keyprefix else Client  # type: ignore[misc]

    def _connparams(self, asynchronous: bool = False) -> dict[str, Any]:
        if getattr(self.connection, "client", None) is None:
            raise RedisConnectionError("this channel's connection was lost")
        return dict(super()._connparams(asynchronous))  # type: ignore[misc]


class Transport(redis.Transport):
    """Redis over TCP, TLS or a unix socket."""

    Channel = Channel


def register() -> None:
    """Have redis://, rediss:// and redis+socket:// mean this transport in this process."""
    for alias in ALIASES:
        transport.TRANSPORT_ALIASES[alias] = f"{__name__}:Transport"
        transport._transport_cache.pop(alias, None)  # type: ignore[attr-defined]
