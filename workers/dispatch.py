"""Publishes what this process has committed to the outbox, at once, without anybody waiting for it.

A thread of the process does it, so that a request never talks to the broker.
What it doesn't get done, since the process dies or the broker is away, the
monitor's sweeper does when the rows' short claim has run out.
"""

from __future__ import annotations

import atexit
import os
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import structlog
from django.db import connections

from jobs.models import Outgoing
from workers.brokers import BrokerUnreachable
from workers.outbox import MOST, Publisher, tell_waiting

logger = structlog.get_logger(__name__)

# How much of a row's claim must be left: another process may take it afterwards.
MARGIN = timedelta(seconds=2)
# While the broker is away, committed rows are left to the sweeper.
REST_SECONDS = 2.0
STOP_SECONDS = 2.0


@dataclass
class Work:
    """What there is to do."""

    rows: list[Outgoing] = field(default_factory=list)
    sweep: bool = False

    def __bool__(self) -> bool:
        return self.sweep or bool(self.rows)


class Dispatcher:
    """One a process; `post` and `sweep` return at once."""

    def __init__(self) -> None:
        self._begin()
        os.register_at_fork(after_in_child=self._begin)
        atexit.register(self.stop)

    def _begin(self) -> None:
        self._changed = threading.Condition()
        self._work = Work()
        self._over = False
        self._thread: threading.Thread | None = None
        self._rest_until = 0.0

    def post(self, rows: Sequence[Outgoing]) -> None:
        """Publish these rows, which are committed and in this process's hand."""
        with self._changed:
            self._work.rows.extend(rows)
            self._wake()

    def sweep(self) -> None:
        """Publish whatever is due: this process has committed many rows, which are in nobody's hand."""
        with self._changed:
            self._work.sweep = True
            self._wake()

    def stop(self) -> None:
        """Finish what was posted, within STOP_SECONDS."""
        thread = self._thread
        if thread is not None:
            with self._changed:
                self._over = True
                self._changed.notify()
            thread.join(STOP_SECONDS)

    def _wake(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="Dispatcher", daemon=True)
            self._thread.start()
        self._changed.notify()

    def _run(self) -> None:
        publisher = Publisher()
        while work := self._next():
            try:
                self._dispatch(publisher, work)
            except BrokerUnreachable as fault:
                logger.warning("the broker is away; committed jobs wait in the outbox: %s", fault)
                self._rest_until = time.monotonic() + REST_SECONDS
            except Exception:
                logger.warning("committed jobs are left to the monitor", exc_info=True)
            finally:
                connections.close_all()

    def _next(self) -> Work:
        """All that was posted meanwhile; nothing at the end."""
        with self._changed:
            while not self._work and not self._over:
                self._changed.wait()
            work, self._work = self._work, Work()
        return work

    def _dispatch(self, publisher: Publisher, work: Work) -> None:
        now = datetime.now(UTC)
        later = [row for row in work.rows if row.due_at > now and not row.told]
        if later:
            tell_waiting(later)
        if time.monotonic() < self._rest_until:
            return
        ours = [row for row in work.rows if row.due_at <= now and _still_ours(row, now)]
        for start in range(0, len(ours), MOST):
            publisher.publish(ours[start : start + MOST])
        while work.sweep and publisher.publish_due() == MOST:
            pass


def _still_ours(row: Outgoing, now: datetime) -> bool:
    return row.claimed_until is not None and row.claimed_until - now > MARGIN


dispatcher = Dispatcher()
