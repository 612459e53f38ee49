"""Feed the stream at a steady pace, with the time as it is: what a busy set of workers would write.

usage: python -m benchmarks.feed REDIS_URL STREAM EVENTS_PER_SECOND SECONDS
Says for each entry, in a line: its id and the time of its events (all of one moment).
"""

from __future__ import annotations

import secrets
import sys
import time
from typing import Any

import orjson
import redis

from benchmarks import trace
from benchmarks.trace import Event
from nightdesk import entry

FOR_EVER = 1_000_000_000


def main(url: str, stream: str, rate: int, seconds: float) -> None:
    client = redis.Redis.from_url(url)
    salt = secrets.token_hex(4)
    stamps = Stamps(salt)
    first, began = 1, time.time()
    for number, flush in enumerate(trace.flushes(FOR_EVER, lead=rate // trace.EVENTS_A_JOB)):
        due = began + number * trace.FLUSH_EVENTS / rate
        time.sleep(max(0.0, due - time.time()))
        now = time.time()
        if now > began + seconds:
            return
        texts = [orjson.dumps(stamps.stamped(event, now)).decode() for event in flush]
        fields: Any = entry.encode(f"feed-{salt}", first, texts, now, 0.0)
        stream_id: Any = client.xadd(stream, fields)
        print(stream_id.decode(), repr(now), flush=True)
        first += len(flush)


class Stamps:
    """Gives events the present as their time, and jobs ids of this run: a run is no repetition of another."""

    def __init__(self, salt: str) -> None:
        self._salt = salt
        self._published: dict[str, float] = {}
        self._received: dict[str, int] = {}

    def stamped(self, event: Event, now: float) -> Event:
        task_id = event["uuid"]
        told = {**event, "uuid": self._salt + task_id[8:], "timestamp": now}
        if "root_id" in told:
            told["root_id"] = told["uuid"]
        if "published" in told:
            told["published"] = told["first_published"] = self._published.setdefault(task_id, now)
        if "delivery" in told:
            told["delivery"] = self._received.setdefault(task_id, int(now * 1_000_000))
        if event["type"] in ("task-succeeded", "task-failed"):
            del self._published[task_id], self._received[task_id]
        return told


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4]))
