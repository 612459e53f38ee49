"""Jobs that shall not run: a worker reads them before it takes its first message, and hears of later ones.

The monitor keeps them in a sorted set in Redis, task ids by the moment until
which they count (seconds since the epoch), and tells workers of each new one
by remote control. A worker reads the set when it listens to remote control
already and takes no messages yet, at its start and after each lost
connection: so no revocation falls between the two.
"""

from __future__ import annotations

import time
from collections.abc import Collection
from typing import Any

import redis
from celery import bootsteps
from celery.worker import state as worker_state
from celery.worker.control import control_command
from redis.backoff import NoBackoff
from redis.retry import Retry

from nightdesk import recorder

KEY = "nightdesk:revoked"
COMMAND = "nightdesk_revoke"
PATIENCE = 2.0
# Celery keeps 50,000 by itself, and forgets the oldest; about 250 bytes each.
MOST_KEPT = 500_000


class ReadRevoked(bootsteps.StartStopStep):
    """Reads what was revoked while this worker was away."""

    requires = ("celery.worker.consumer.control:Control",)

    def start(self, consumer: Any) -> None:
        running = recorder.installed()
        if running is None:
            return
        try:
            keep_out(revoked_before(running.options.url))
        except redis.RedisError as fault:  # the monitor tells again of what is still open
            running.count_fault("ReadRevoked", fault)


@control_command(name=COMMAND)
def revoke_quietly(state: Any, ids: Collection[str], **_: Any) -> dict[str, Any]:
    """Don't run these; as `revoke`, but no result is written for a job that this worker hasn't met."""
    keep_out(ids)
    return {"ok": f"{len(ids)} revoked"}


def revoked_before(url: str) -> list[str]:
    """The task ids that count now. Raises redis.RedisError."""
    options: dict[str, Any] = {"socket_timeout": PATIENCE, "socket_connect_timeout": PATIENCE}
    with redis.Redis.from_url(url, **options, retry=Retry(NoBackoff(), 0)) as client:
        found: Any = client.zrangebyscore(KEY, time.time(), "+inf")
    return [task_id.decode(errors="replace") for task_id in found]


def keep_out(ids: Collection[str]) -> None:
    """Add to what this worker doesn't run."""
    revoked = worker_state.revoked
    new = sum(task_id not in revoked for task_id in ids)
    revoked.maxlen = max(revoked.maxlen, min(MOST_KEPT, len(revoked) + new + 1))
    revoked.update(ids)
