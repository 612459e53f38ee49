"""Messages that wait aside in Redis: until a moment, or until a line has a slot for them.

Each step is one script, so that a message is always in exactly one place: the
worker's unacknowledged ones, aside, or its queue. Slots are leases; those of
killed holders end, and whoever sweeps next gives them to the first in line.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import redis
from django.conf import settings
from kombu.utils.json import dumps
from redis.backoff import NoBackoff
from redis.retry import Retry

from nightdesk import revoked

UNTIL = "nightdesk:aside"
LINES = "nightdesk:lines"
SLOTS, WAITING = "nightdesk:slots:", "nightdesk:waiting:"
RATE, RESERVED = "nightdesk:rate:", "nightdesk:reserved:"
PATIENCE = 2.0
# A slot that a message was given as it left the line stays its own for so long, in seconds.
KEPT_FREE = 60
# Who comes later than this after its moment has to ask again: a backlog must not run all at once. In seconds.
LATE = 2.0

_NOW = """
local clock = redis.call('time')
local now = tonumber(clock[1]) + tonumber(clock[2]) / 1000000
local function exact(number) return string.format('%.6f', number) end
"""
# A message aside is "list\nmessage"; in a line it has its job's id before that.
_HAND_OUT = """
local function hand_out(line, limit)
  local slots, waiting = ARGV[1] .. line, ARGV[2] .. line
  redis.call('zremrangebyscore', slots, '-inf', exact(now))
  while redis.call('zcard', slots) < limit do
    local first = redis.call('zpopmin', waiting)[1]
    if not first then
      redis.call('hdel', ARGV[3], line)
      return
    end
    local a = string.find(first, '\\n', 1, true)
    local b = string.find(first, '\\n', a + 1, true)
    redis.call('zadd', slots, exact(now + tonumber(ARGV[4])), string.sub(first, 1, a - 1))
    redis.call('rpush', string.sub(first, a + 1, b - 1), string.sub(first, b + 1))
  end
end
"""
_TAKE = """
local held = redis.call('hexists', KEYS[1], ARGV[5]) == 1
redis.call('hdel', KEYS[1], ARGV[5])
redis.call('zrem', KEYS[2], ARGV[5])
if not held then return 0 end
"""
_WAIT_UNTIL = (
    _NOW
    + _TAKE
    + """
redis.call('zadd', ARGV[6], exact(now + tonumber(ARGV[7])), ARGV[8])
return 1
"""
)
_WAIT_IN_LINE = (
    _NOW
    + _HAND_OUT
    + _TAKE
    + """
redis.call('zadd', ARGV[2] .. ARGV[6], exact(now), ARGV[8])
redis.call('hset', ARGV[3], ARGV[6], ARGV[7])
hand_out(ARGV[6], tonumber(ARGV[7]))
return 1
"""
)
_ENTER = (
    _NOW
    + _HAND_OUT
    + """
local line, job, limit, ends = ARGV[5], ARGV[6], tonumber(ARGV[7]), exact(now + tonumber(ARGV[8]))
local slots = ARGV[1] .. line
local held = redis.call('zscore', slots, job)
if held and tonumber(held) > now then
  redis.call('zadd', slots, ends, job)
  return 2
end
hand_out(line, limit)
if redis.call('zcard', slots) >= limit then return 0 end
redis.call('zadd', slots, ends, job)
return 1
"""
)
_HOLD = (
    _NOW
    + """
redis.call('zadd', KEYS[1], 'XX', exact(now + tonumber(ARGV[2])), ARGV[1])
"""
)
_LEAVE = (
    _NOW
    + _HAND_OUT
    + """
redis.call('zrem', ARGV[1] .. ARGV[5], ARGV[6])
hand_out(ARGV[5], tonumber(ARGV[7]))
"""
)
_SWEEP = (
    _NOW
    + _HAND_OUT
    + """
for _, entry in ipairs(redis.call('zrangebyscore', KEYS[1], '-inf', exact(now), 'LIMIT', 0, 200)) do
  local cut = string.find(entry, '\\n', 1, true)
  redis.call('rpush', string.sub(entry, 1, cut - 1), string.sub(entry, cut + 1))
  redis.call('zrem', KEYS[1], entry)
end
local lines = redis.call('hgetall', ARGV[3])
for i = 1, #lines, 2 do hand_out(lines[i], tonumber(lines[i + 1])) end
"""
)
# The bucket is kept as the moment at which it will be full again.
_ASK = (
    _NOW
    + """
local every, burst, late = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local reserved = tonumber(redis.call('get', KEYS[2]) or '')
if reserved then
  redis.call('del', KEYS[2])
  if now <= reserved + late then return '0' end
end
local full = math.max(tonumber(redis.call('get', KEYS[1]) or '0'), now)
local wait = math.max(full - every * (burst - 1) - now, 0)
redis.call('set', KEYS[1], exact(full + every), 'PX', math.ceil((full + every - now) * 1000) + 1000)
if wait > 0 then
  redis.call('set', KEYS[2], exact(now + wait), 'PX', math.ceil((wait + late) * 1000) + 1000)
end
return exact(wait)
"""
)
_PLACES = (SLOTS, WAITING, LINES, KEPT_FREE)


@dataclass(frozen=True)
class Line:
    """Where a job waits for one of `slots` that jobs of one kind share."""

    name: str
    slots: int


class Aside:
    """Over a connection of its own to the broker's Redis; its methods raise redis.RedisError."""

    def __init__(self) -> None:
        self._client = redis.Redis.from_url(
            settings.REDIS_URL,
            socket_timeout=PATIENCE,
            socket_connect_timeout=PATIENCE,
            retry=Retry(NoBackoff(), 1),
        )
        script = self._client.register_script
        self._wait_until, self._wait_in_line = script(_WAIT_UNTIL), script(_WAIT_IN_LINE)
        self._enter, self._leave, self._sweep = script(_ENTER), script(_LEAVE), script(_SWEEP)
        self._ask, self._hold = script(_ASK), script(_HOLD)

    def put(self, message: Any, job: str, delay: float, line: Line | None) -> None:
        """Take a message out of its worker's hand, for `delay` seconds or until `line` has a slot.

        Nothing happens if the broker has given it to somebody else meanwhile.
        """
        channel, tag = message.channel, message.delivery_tag
        keys = [channel.unacked_key, channel.unacked_index_key]
        entry = f"{_list_of(message)}\n{dumps(message._raw)}"
        if line is None:
            self._wait_until(keys, [*_PLACES, tag, UNTIL, delay, entry])
        else:
            self._wait_in_line(keys, [*_PLACES, tag, line.name, line.slots, f"{_named(job)}\n{entry}"])

    def enter(self, line: Line, job: str, lease: float) -> int:
        """0: all slots are taken. 1: the job has one now. 2: it had one before."""
        return int(self._enter([], [*_PLACES, line.name, _named(job), line.slots, lease]))

    def leave(self, line: Line, job: str) -> None:
        """Give a slot back; the first in line gets it."""
        self._leave([], [*_PLACES, line.name, _named(job), line.slots])

    def hold(self, line: Line, job: str, lease: float) -> None:
        """Keep a slot for `lease` seconds more; one that was given back or handed on stays so."""
        self._hold([f"{SLOTS}{line.name}"], [_named(job), lease])

    def ask(self, bucket: str, job: str, every: float, burst: int) -> float:
        """Seconds to wait; then the job may go. One may go `every` seconds, `burst` at once after a rest."""
        return float(self._ask([f"{RATE}{bucket}", f"{RESERVED}{bucket}:{job}"], [every, burst, LATE]))

    def reserve(self, bucket: str, job: str, seconds: float) -> None:
        """The job didn't go although it might have: it may, at any time within `seconds`."""
        now, _ = self._client.time()
        self._client.set(f"{RESERVED}{bucket}:{job}", now + seconds, ex=int(seconds) + 1)

    def sweep(self) -> None:
        """Give back to their queues the messages whose time has come, and the slots whose holders died."""
        self._sweep([UNTIL], [*_PLACES])

    def revoked(self, job: str) -> bool:
        """Whether somebody wants this job to end."""
        until: Any = self._client.zscore(revoked.KEY, job)
        return until is not None and until > time.time()

    def close(self) -> None:
        self._client.close()


def _list_of(message: Any) -> str:
    """The list in Redis to which a message belongs: its queue at its priority."""
    channel, info = message.channel, message.delivery_info
    [queue, *_] = channel._lookup(info["exchange"], info["routing_key"])
    return str(channel._q_for_pri(queue, channel._get_message_priority(message._raw, reverse=False)))


def _named(job: str) -> str:
    return job.replace("\n", " ")
