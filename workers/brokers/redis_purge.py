"""Deleting what waits in kombu's lists: set aside at one moment, told, then deleted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import orjson
import redis

from workers.brokers.broker import Waiting

PREFIX = "nightdesk:purge:"
CHUNK = 500
# What a purge that was broken off has set aside is kept for as long as somebody may take it up again.
KEPT_SECONDS = 86_400
LONGEST_ID = 255
# All lists of the queue at once: what is published a moment later goes into new ones, and stays.
_SET_ASIDE = """
local aside = ARGV[1]
if not redis.call('set', aside, '', 'NX', 'EX', ARGV[2]) then return 0 end
for place, list in ipairs(KEYS) do
    if redis.call('exists', list) == 1 then
        redis.call('rename', list, aside .. ':' .. place)
        redis.call('expire', aside .. ':' .. place, ARGV[2])
    end
end
return 1
"""


def purge(
    client: redis.Redis,
    lists: Sequence[str],
    once: str,
    gone: Callable[[Sequence[Waiting]], None],
    *,
    begin: bool = True,
) -> int | None:
    """See `Broker.purge`. `lists` are the keys of one queue. Raises redis.RedisError."""
    aside, counter = f"{PREFIX}{once}", f"{PREFIX}{once}:count"
    if begin:
        client.eval(_SET_ASIDE, len(lists), *lists, aside, KEPT_SECONDS)
    elif not client.exists(aside):
        return None
    for place in range(1, len(lists) + 1):
        _tell_and_delete(client, f"{aside}:{place}", counter, gone)
    return int(client.get(counter) or 0)


def _tell_and_delete(
    client: redis.Redis, key: str, counter: str, gone: Callable[[Sequence[Waiting]], None]
) -> None:
    while messages := _first(client, key):
        gone([told for message in messages if (told := waiting(message)) is not None])
        with client.pipeline() as pipe:
            pipe.ltrim(key, len(messages), -1)
            pipe.incrby(counter, len(messages))
            pipe.expire(counter, KEPT_SECONDS)
            pipe.execute()


def _first(client: redis.Redis, key: str) -> list[bytes]:
    found: Any = client.lrange(key, 0, CHUNK - 1)
    return list(found)


def waiting(message: bytes) -> Waiting | None:
    """What a message says of its job; None if it can't be read."""
    try:
        headers = orjson.loads(message)["headers"]
        task_id, task, retries = headers["id"], headers.get("task"), headers.get("retries")
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    if not isinstance(task_id, str) or not 0 < len(task_id) <= LONGEST_ID:
        return None
    return Waiting(
        task_id, task if isinstance(task, str) else None, retries if isinstance(retries, int) else 0
    )
