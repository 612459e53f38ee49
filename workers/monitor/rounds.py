"""How the loops of the monitor go on: round by round, whatever goes wrong in one of them."""

from __future__ import annotations

import threading
from collections.abc import Callable

import structlog
from django.db import DatabaseError, close_old_connections
from redis import RedisError

from workers.brokers import BrokerUnreachable

logger = structlog.get_logger(__name__)

# What is away now and then; of anything else the log shows where it came from.
EXPECTED = (DatabaseError, RedisError, BrokerUnreachable)
LONGEST_PAUSE = 5.0


def go_round(work: Callable[[], object], stop: threading.Event, every: float, waits: str) -> None:
    """Call `work` every so many seconds until told to stop; after faults more rarely, up to LONGEST_PAUSE.

    `waits` says in the log what does not happen meanwhile, as in "orders wait".
    """
    pause = every
    while not stop.wait(pause):
        try:
            work()
            pause = every
        except Exception as fault:
            pause = min(pause * 2, max(every, LONGEST_PAUSE))
            expected = isinstance(fault, EXPECTED)
            logger.warning("%s; again in %.1f s: %s", waits, pause, fault, exc_info=not expected)
        finally:
            close_old_connections()
