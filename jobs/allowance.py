"""How many requests a token may still make in this minute, counted over all web processes.

The count is a number in the token's row, since a web request asks the
database only. A process takes a few requests at a time and hands them out
from memory, so that it writes once for many: the limit holds exactly, and a
process may at worst keep unused what it took.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from threading import Lock

from django.db.models import F

from jobs.models.tokens import Token

MINUTE = 60
AT_ONCE = 20


@dataclass(frozen=True)
class Grant:
    """What became of a request: whether it may be made, how many may be made still, as far as this process
    knows, and in how many seconds the count begins anew."""

    allowed: bool
    limit: int
    left: int
    anew_in: int


@dataclass
class _Purse:
    """What this process has taken for one token in one minute; `beyond` nobody had taken at that time."""

    minute: int
    left: int = 0
    beyond: int = 0


@dataclass
class Allowance:
    """Requests in hand, by token: one for each web process."""

    limit: int
    _purses: dict[int, _Purse] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    def spend(self, token_id: int, now: float) -> Grant:
        """Take one request. At most two statements, mostly none. `now` is seconds since the epoch."""
        minute, second = divmod(int(now), MINUTE)
        with self._lock:
            purse = self._purse(token_id, minute)
            if purse.left == 0:
                purse.left, purse.beyond = _taken(token_id, minute, self.limit)
            allowed = purse.left > 0
            purse.left -= allowed
            return Grant(allowed, self.limit, purse.left + purse.beyond, MINUTE - second)

    def _purse(self, token_id: int, minute: int) -> _Purse:
        purse = self._purses.get(token_id)
        if purse is None or purse.minute != minute:
            self._purses = {key: kept for key, kept in self._purses.items() if kept.minute == minute}
            purse = self._purses[token_id] = _Purse(minute)
        return purse


def _taken(token_id: int, minute: int, limit: int) -> tuple[int, int]:
    """Take up to AT_ONCE requests out of what is left in this minute: (taken, left for others)."""
    row = Token.objects.filter(pk=token_id)
    wanted = max(1, min(AT_ONCE, limit // 5))
    if row.filter(minute__lt=minute).update(minute=minute, used=wanted):
        return wanted, limit - wanted
    for count in (wanted, 1):
        # Another process may be in the next minute by its clock.
        if row.filter(minute__gte=minute, used__lte=limit - count).update(used=F("used") + count):
            used = row.values_list("used", flat=True).first() or 0
            return count, max(0, limit - used)
    return 0, 0
