"""One word for a queue, and when it will be empty: one answer for badges, order and advice. Pure.

`jobs.liveness.queue_state` says whether a queue is served in time; a verdict looks at its workers and its
pace, too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from jobs.liveness import QueueState

QueueVerdict = Literal[
    "none", "capacity", "growing", "late", "unknown", "paused", "draining", "healthy", "idle"
]
# Worst first, as pages list them.
QUEUE_VERDICTS: tuple[QueueVerdict, ...] = (
    "none",
    "capacity",
    "growing",
    "late",
    "unknown",
    "paused",
    "draining",
    "healthy",
    "idle",
)
Drain = Literal["nothing", "drains", "never", "unknown"]

# What waits less long than this, at the present pace, is a queue at work and no backlog; seconds.
BACKLOG = 60.0
# More comes than goes only where it is surely more: both are counts of a few minutes.
SURELY_MORE = 1.1


@dataclass(frozen=True)
class Pace:
    """How a queue moves: what waits, what comes and goes (jobs a second), and the slots that serve it.

    `depth`, `busy` and `slots` are None where they are not known.
    """

    depth: int | None
    incoming: float
    outgoing: float
    busy: int | None = None
    slots: int | None = None

    @property
    def all_busy(self) -> bool:
        """Whether each slot that serves it is known to be busy."""
        return bool(self.slots) and self.busy is not None and self.busy >= (self.slots or 0)

    @property
    def grows(self) -> bool:
        """Whether more comes than goes."""
        return self.incoming > self.outgoing * SURELY_MORE

    @property
    def has_backlog(self) -> bool:
        """Whether more waits than goes in a minute."""
        return bool(self.depth) and (self.depth or 0) > self.outgoing * BACKLOG


def verdict(state: QueueState, pace: Pace) -> QueueVerdict:
    """The word for a queue that is in this state and moves like this."""
    if state == "late":
        return "capacity" if pace.all_busy else "growing" if pace.grows else "late"
    if state != "healthy" or not pace.has_backlog:
        return state
    if pace.grows:
        return "growing"
    return "draining" if drains_in(pace) is not None else state


def drain(pace: Pace) -> Drain:
    """Whether its backlog, if it has one, will be gone at the present pace."""
    if pace.depth is None:
        return "unknown"
    if not pace.has_backlog:
        return "nothing"
    return "never" if drains_in(pace) is None else "drains"


def drains_in(pace: Pace) -> float | None:
    """Seconds until nothing waits: what waits ÷ what goes less what comes; None for nothing, or never."""
    less = pace.outgoing - pace.incoming
    return pace.depth / less if pace.depth and less > 0 else None
