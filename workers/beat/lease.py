"""Which of several Beats works: a row in the database, so that nothing else need be there.

A standby takes over when the row has not changed for SECONDS of its own
clock; clocks of two machines are never compared. Whoever held it before is
fenced: each of its transactions begins with `fence`, which asks the row.
"""

from __future__ import annotations

import os
import secrets
import socket
import time

from django.db.models import F
from django.utils import timezone

from jobs.models import BeatLease

SECONDS = 3.0
RENEW_SECONDS = 1.0


class Fenced(Exception):
    """Another Beat has the lease."""


class Lease:
    """The lease as one process sees it."""

    def __init__(self) -> None:
        self._token = secrets.token_hex(16)
        self._row = BeatLease.objects.filter(name=BeatLease.NAME)
        self._held = False
        self._renewed = 0.0
        self._seen: tuple[str, int] | None = None
        self._seen_since = 0.0

    def hold(self) -> bool:
        """Take, keep or renew the lease; False while another process has it."""
        if self._held and time.monotonic() - self._renewed < RENEW_SECONDS:
            return True
        self._held = self._renew() if self._held else self._take()
        if self._held:
            self._renewed = time.monotonic()
        return self._held

    def keep(self) -> None:
        """In the midst of long work: nobody else takes the lease because of it. Raises Fenced."""
        if not self.hold():
            raise Fenced

    def fence(self) -> None:
        """First in each transaction: nobody else takes the lease before it ends. Raises Fenced."""
        if not self._renew():
            self._held = False
            raise Fenced

    def release(self) -> None:
        """Let another process take over at once."""
        if self._held:
            self._held = False
            self._row.filter(holder=self._token).update(holder="", turn=F("turn") + 1)

    def _renew(self) -> bool:
        return bool(self._row.filter(holder=self._token).update(turn=F("turn") + 1))

    def _take(self) -> bool:
        if not self._row.exists():
            BeatLease.objects.bulk_create([BeatLease(name=BeatLease.NAME)], ignore_conflicts=True)
        seen = self._row.values_list("holder", "turn").get()
        if seen != self._seen:
            self._seen, self._seen_since = seen, time.monotonic()
        if seen[0] and time.monotonic() - self._seen_since < SECONDS:
            return False
        mine = {"holder": self._token, "host": socket.gethostname(), "pid": os.getpid()}
        taken = self._row.filter(holder=seen[0], turn=seen[1])
        return bool(taken.update(turn=seen[1] + 1, taken_at=timezone.now(), **mine))
