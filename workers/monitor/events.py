"""The stream of events as the monitor reads it: in bounded pieces, and with an eye on what was cut off."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import redis

from jobs.batch import StreamEntry

BLOCK_MS = 1000
GATHER_SECONDS = 0.1
BATCH_ENTRIES, BATCH_BYTES = 500, 6_000_000
# An entry's size is known only when it is here, and a hostile one may have 20 MB.
PIECE_ENTRIES = 25

# Without the entries at both ends, which XINFO STREAM would bring along.
_LOOK = """
if redis.call('exists', KEYS[1]) == 0 then return false end
local told, found = redis.call('xinfo', 'stream', KEYS[1]), {}
for i = 1, #told, 2 do found[told[i]] = told[i + 1] end
local first = redis.call('xrange', KEYS[1], '-', '+', 'COUNT', 1)[1]
local read = redis.call('xrange', KEYS[1], ARGV[1], ARGV[1])[1]
local uncut = found['entries-added'] == found['length']
local last_id = found['last-generated-id']
return {last_id, first and first[1] or last_id, read and 1 or 0, uncut and 1 or 0}
"""
_NEXT = """
local entry = redis.call('xrange', KEYS[1], '(' .. ARGV[1], '+', 'COUNT', 1)[1]
return entry and entry[1]
"""


@dataclass(frozen=True)
class Look:
    """A stream as seen from a place in it.

    `holds` tells whether the entry at that place is still there: nobody but the
    cap cuts it off. `uncut`: nothing was ever cut off (False before Redis 7.0).
    """

    first_id: str
    last_id: str
    holds: bool
    uncut: bool


class EventStream:
    """One stream, and who reads it."""

    def __init__(self, client: redis.Redis, name: str) -> None:
        self._client = client
        self._name = name
        self._piece = 1

    def read(self, after: str, most: int = BATCH_ENTRIES, wait: bool = True) -> list[StreamEntry]:
        """What has arrived, after a moment for company; little more than BATCH_BYTES of it.

        Where nothing has, it waits up to BLOCK_MS, or not.
        """
        asked = min(self._piece, most)
        found = self._read_piece(after, most, BLOCK_MS if wait else None)
        if 0 < len(found) < asked:
            time.sleep(GATHER_SECONDS)
        size = size_of(found)
        while found and len(found) < most and size < BATCH_BYTES:
            piece = self._read_piece(found[-1][0], most - len(found), None)
            if not piece:
                break
            found += piece
            size += size_of(piece)
        return found

    def _read_piece(self, after: str, most: int, block: int | None) -> list[StreamEntry]:
        asked = min(self._piece, most)
        reply: Any = self._client.xread({self._name: after}, count=asked, block=block)
        piece = [(stream_id.decode(), fields) for _, entries in reply for stream_id, fields in entries]
        self._piece = next_piece(self._piece, len(piece), size_of(piece))
        return piece

    def next_id(self, after: str) -> str | None:
        """The id of the first entry after `after`, without the entry; None if there is none."""
        found: Any = self._client.eval(_NEXT, 1, self._name, after)
        return found.decode() if found else None

    def look(self, place: str) -> Look | None:
        """How the stream stands; None if there is none."""
        found: Any = self._client.eval(_LOOK, 1, self._name, place)
        if not found:
            return None
        last_id, first_id, holds, uncut = found
        return Look(first_id.decode(), last_id.decode(), bool(holds), bool(uncut))

    def trim(self, committed_id: str) -> None:
        """Give back the memory of what is committed; the last entry stays, as a mark."""
        self._client.xtrim(self._name, minid=committed_id, approximate=True)


def size_of(entries: Sequence[StreamEntry]) -> int:
    """Bytes in the fields of these entries, their names included."""
    return sum(len(name) + len(value) for _, fields in entries for name, value in fields.items())


def next_piece(asked: int, came: int, size: int) -> int:
    """How many entries to ask for next: after giants few, then twice as many at a time."""
    if size > BATCH_BYTES:
        return max(1, came * BATCH_BYTES // (2 * size))
    return min(PIECE_ENTRIES, asked * 2)


def order(stream_id: str) -> tuple[int, int]:
    """Ids in the order of their stream."""
    milliseconds, _, number = stream_id.partition("-")
    return int(milliseconds), int(number or 0)
