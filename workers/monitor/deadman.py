"""Who watches the watcher: a sign of life to a service outside, which raises the alarm when it stays away.

It is given only while reading, sampling, judging and telling really go on: a
monitor that merely runs is silent.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import structlog
from django.conf import settings

from jobs.models import Heartbeat
from workers.monitor.rounds import go_round
from workers.monitor.sample import beat
from workers.notify.courier import Courier
from workers.notify.letter import Letter, Outcome

logger = structlog.get_logger(__name__)

INTERVAL = 1.0
PATIENCE = 10.0
# A loop that has given no sign for so long doesn't work.
SILENT_AFTER = timedelta(seconds=30)
# Seconds that reading may be behind without getting any further.
STANDING_AFTER = 60.0
# Loops that give signs of life in the database, so that the way there is known to be open.
SIGNS = ("monitor", "alerts")


@dataclass(frozen=True)
class Signs:
    """What is known of the loops at a moment; None where nothing was heard yet.

    `reading` is since when reading has not got any further although there is more, in seconds.
    """

    leading: bool
    reading: float | None
    telling: float | None
    heard: dict[str, datetime]


def why_silent(signs: Signs, now: datetime) -> str | None:
    """Why no sign of life is to be given; None if all is well."""
    if not signs.leading:
        return "another monitor works"
    if signs.reading is None or signs.reading > STANDING_AFTER:
        return "reading the stream stands still"
    if signs.telling is None or signs.telling > SILENT_AFTER.total_seconds():
        return "no notices are sent"
    late = [name for name in SIGNS if name not in signs.heard or now - signs.heard[name] > SILENT_AFTER]
    return f"no sign of life of: {', '.join(late)}" if late else None


class Progress:
    """For how long reading has stood still."""

    def __init__(
        self,
        place: Callable[[], str | None],
        lag: Callable[[], float | None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._place = place
        self._lag = lag
        self._clock = clock
        self._last: tuple[str | None, float] = (None, clock())

    def standing(self) -> float | None:
        """Seconds for which there was more to read and nothing was; None if nobody can tell."""
        lag, place, now = self._lag(), self._place(), self._clock()
        if lag is None:
            return None
        if place != self._last[0] or lag == 0:
            self._last = (place, now)
        return now - self._last[1]


class Deadman:
    """Pings DEADMAN_URL every DEADMAN_EVERY seconds; does nothing without one."""

    def __init__(
        self, leading: Callable[[], bool], progress: Progress, telling: Callable[[], float | None]
    ) -> None:
        self._leading = leading
        self._progress = progress
        self._telling = telling
        self._courier: Courier | None = None
        self._due = 0.0
        self._why: str | None = ""

    def run(self, stop: threading.Event) -> None:
        """Work until told to stop."""
        if settings.DEADMAN_URL:
            go_round(self._round, stop, INTERVAL, "the sign of life waits")
            if self._courier is not None:
                self._courier.end()
        else:
            stop.wait()

    def _round(self) -> None:
        standing = self._progress.standing()
        if self._courier is not None and (outcome := self._courier.outcome()):
            self._courier = None
            self._note(outcome, datetime.now(UTC))
        if self._courier is None and time.monotonic() >= self._due:
            self._give_sign(standing, datetime.now(UTC))

    def _give_sign(self, standing: float | None, now: datetime) -> None:
        heard = dict(Heartbeat.objects.filter(name__in=SIGNS).values_list("name", "at"))
        why = why_silent(Signs(self._leading(), standing, self._telling(), heard), now)
        if why != self._why:
            logger.info("signs of life are given" if why is None else f"no sign of life is given: {why}")
        self._why = why
        if why is None:
            self._due = time.monotonic() + settings.DEADMAN_EVERY
            # Set by who runs the place, so it may be anywhere.
            self._courier = Courier(
                Letter("ping", settings.DEADMAN_URL, PATIENCE, allow_http=True, allow_private=True)
            )

    def _note(self, outcome: Outcome, now: datetime) -> None:
        """For the page of the channels; the address may be in what went wrong, so that is not kept."""
        beat("deadman", now, {"ok": outcome.ending == "delivered", "every": settings.DEADMAN_EVERY})
        if outcome.ending != "delivered":
            logger.warning("the sign of life was not taken: %s", outcome.ending)
