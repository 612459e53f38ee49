"""The loop that has notices delivered: it starts processes and looks after them, and waits for none."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import structlog
from django.db import DataError

from workers.monitor.rounds import go_round
from workers.notify import desk
from workers.notify.courier import Courier
from workers.notify.letter import Outcome

logger = structlog.get_logger(__name__)

INTERVAL = 0.5
MOST_ON_THE_WAY = 8


@dataclass(frozen=True)
class OnTheWay:
    """A message, and the process that sends it; or, without one, what came of it at once."""

    taken: desk.Taken
    courier: Courier | None
    ended: Outcome | None = None

    def outcome(self) -> Outcome | None:
        """What came of it; None while it is on its way."""
        if self.ended is not None or self.courier is None:
            return self.ended
        return self.courier.outcome()


class Notifier:
    """Works while `leading`; at most MOST_ON_THE_WAY messages at a time, one for each channel."""

    def __init__(self, leading: Callable[[], bool]) -> None:
        self._leading = leading
        self._on_the_way: list[OnTheWay] = []
        self._last_round: float | None = None

    @property
    def silent_for(self) -> float | None:
        """Seconds since the last round that went well; None before the first one."""
        last = self._last_round
        return None if last is None else time.monotonic() - last

    def run(self, stop: threading.Event) -> None:
        """Work until told to stop. What is on its way then goes again, as a possible second copy."""
        go_round(self._round, stop, INTERVAL, "notices wait")
        for one in self._on_the_way:
            if one.courier is not None:
                one.courier.end()

    def _round(self) -> None:
        self.collect(datetime.now(UTC))
        if self._leading():
            self.send(datetime.now(UTC))
        self._last_round = time.monotonic()

    def collect(self, now: datetime) -> None:
        """Write down what came of messages that have ended."""
        for one in list(self._on_the_way):
            if outcome := one.outcome():
                place = self._on_the_way.index(one)
                # Kept until it is written down: the database may be away.
                self._on_the_way[place] = OnTheWay(one.taken, None, outcome)
                _write_down(one.taken, outcome, now)
                del self._on_the_way[place]
                _log(one.taken, outcome)

    def send(self, now: datetime) -> None:
        """Begin with what is due."""
        free = MOST_ON_THE_WAY - len(self._on_the_way)
        if free > 0:
            busy = {one.taken.channel.pk for one in self._on_the_way}
            doubtful = sum(one.taken.doubtful for one in self._on_the_way)
            for taken in desk.take(now, busy, free, doubtful, MOST_ON_THE_WAY):
                self._on_the_way.append(_begun(taken))


def _begun(taken: desk.Taken) -> OnTheWay:
    try:
        return OnTheWay(taken, Courier(desk.letter_of(taken)))
    except desk.Unsendable as fault:
        return OnTheWay(taken, None, Outcome("refused", str(fault)))


def _write_down(taken: desk.Taken, outcome: Outcome, now: datetime) -> None:
    try:
        desk.write_down(taken, outcome, now)
    except (ValueError, DataError):
        # Code of others has written the reason: one that no database takes must not come again for ever.
        logger.exception("what came of a message can't be written down as it was told")
        desk.write_down(taken, replace(outcome, why="?"), now)


def _log(taken: desk.Taken, outcome: Outcome) -> None:
    """Without the reason, which code of others has written: that is on the page of the channels."""
    if outcome.ending == "delivered":
        logger.info("%d notices delivered to channel %s", len(taken.notices), taken.channel.name)
    else:
        logger.warning(
            "attempt %d to reach channel %s: %s", taken.attempt, taken.channel.name, outcome.ending
        )
