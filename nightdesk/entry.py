"""One entry of the stream: the events of one flush of one process.

Fields, all text: `v` schema version, `p` producer id, `s` sequence number of
the first event, `n` number of events, `t` the producer's clock at the send,
`o` what to add to the producer's clock to get the stream's (empty: not known
yet), `e` a JSON list of event dicts. Unknown fields are ignored, so that old
and new run together during a deploy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

VERSION = "1"
MOST_EVENTS = 100_000
LAST_NUMBER = 2**53
YEAR_9999 = 253_402_300_000.0


@dataclass(frozen=True)
class Entry:
    """An entry as read: `events` is still JSON, `offset` is in seconds."""

    producer: str
    first_seq: int
    count: int
    offset: float
    events: bytes

    @property
    def last_seq(self) -> int:
        return self.first_seq + self.count - 1


def encode(
    producer: str, first_seq: int, events: Sequence[str], sent: float, offset: float | None
) -> dict[str, str]:
    """The fields of an entry, from events that are JSON already."""
    return {
        "v": VERSION,
        "p": producer,
        "s": str(first_seq),
        "n": str(len(events)),
        "t": repr(sent),
        "o": "" if offset is None else repr(offset),
        "e": f"[{','.join(events)}]",
    }


def decode(stream_id: str, fields: dict[bytes, bytes]) -> Entry:
    """Read an entry; raises ValueError or KeyError if it is not one."""
    if fields[b"v"] != VERSION.encode():
        raise ValueError(f"schema version {fields[b'v'][:16]!r}")
    count, first_seq = int(fields[b"n"]), int(fields[b"s"])
    if not 1 <= count <= MOST_EVENTS or not 1 <= first_seq <= LAST_NUMBER - count:
        raise ValueError("an entry holds at least one event, numbered from 1")
    producer = fields[b"p"].decode()[:64]
    if "\x00" in producer:  # which databases refuse
        raise ValueError("a producer is named by a NUL")
    return Entry(
        producer=producer,
        first_seq=first_seq,
        count=count,
        offset=float(fields[b"o"]) if fields[b"o"] else stream_time(stream_id) - float(fields[b"t"]),
        events=fields[b"e"],
    )


def stream_time(stream_id: str) -> float:
    """Seconds since the epoch, by the clock of the stream's Redis."""
    return min(int(stream_id.partition("-")[0]) / 1000, YEAR_9999)
