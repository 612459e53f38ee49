"""The life of an alert: what follows from a look at its cause. Pure.

    nothing ── cause ──► pending ── has lasted ──► firing ── gone for a time ──► resolved
                            └── cause gone ──► nothing

Whoever acknowledges, silences or has quiet hours holds back notices, never
the life itself. An alert gives each event once at most.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, time, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

State = Literal["pending", "firing", "resolved"]
What = Literal["pending", "firing", "noticed", "returned", "escalated", "resolved"]
Event = Literal["firing", "resolved", "escalated", "acknowledged"]

# A cause that comes and goes must be gone for up to so many times as long.
MOST_DAMPED = 8


@dataclass(frozen=True)
class Policy:
    """What a rule wants: seconds, and whether these are its quiet hours."""

    for_seconds: float = 0.0
    resolve_seconds: float = 0.0
    escalate_after: float | None = None
    quiet: bool = False


@dataclass(frozen=True)
class Life:
    """Where an alert stands; the fields are those of `jobs.models.Alert`."""

    state: State
    since: datetime
    last_seen: datetime
    fired_at: datetime | None = None
    noticed_at: datetime | None = None
    escalated_at: datetime | None = None
    clear_since: datetime | None = None
    resolved_at: datetime | None = None
    flaps: int = 0
    acknowledged_at: datetime | None = None
    silenced_until: datetime | None = None

    @property
    def is_there(self) -> bool:
        """Whether it fires, and its cause was there at the last look that could tell."""
        return self.state == "firing" and self.clear_since is None


@dataclass(frozen=True)
class Step:
    """An alert after a look (None: there is none), what has changed, and what its channels are to be told."""

    life: Life | None
    changes: tuple[What, ...] = ()
    events: tuple[Event, ...] = ()


def advance(life: Life | None, holds: bool | None, now: datetime, policy: Policy) -> Step:
    """What one look makes of an alert that is not resolved; `holds` None: nobody can tell now."""
    step = _seen(life, now) if holds else _missed(life, holds, now, policy)
    if step.life is None or step.life.state == "resolved":
        return step
    return _escalated(_noticed(_fired(step, holds, now, policy), now, policy), now, policy)


def end(life: Life, now: datetime) -> Step:
    """Nobody looks any more, as its rule was disabled."""
    return Step(None) if life.state == "pending" else _resolved(life, now)


def _seen(life: Life | None, now: datetime) -> Step:
    if life is None:
        return Step(Life("pending", since=now, last_seen=now), ("pending",))
    if life.clear_since is None:
        return Step(replace(life, last_seen=now))
    return Step(replace(life, last_seen=now, clear_since=None, flaps=life.flaps + 1), ("returned",))


def _missed(life: Life | None, holds: bool | None, now: datetime, policy: Policy) -> Step:
    if life is None or holds is None:
        return Step(life)
    if life.state == "pending":
        return Step(None)
    life = replace(life, clear_since=life.clear_since or now)
    gone = now - (life.clear_since or now)
    return _resolved(life, now) if gone >= gone_for(life.flaps, policy) else Step(life)


def gone_for(flaps: int, policy: Policy) -> timedelta:
    """For how long its cause must be gone: twice as long each time that it came back."""
    return timedelta(seconds=policy.resolve_seconds * min(2**flaps, MOST_DAMPED))


def _resolved(life: Life, now: datetime) -> Step:
    told: tuple[Event, ...] = () if life.noticed_at is None else ("resolved",)
    return Step(replace(life, state="resolved", resolved_at=now), ("resolved",), told)


def _fired(step: Step, holds: bool | None, now: datetime, policy: Policy) -> Step:
    life = step.life
    lasted = life is not None and now - life.since >= timedelta(seconds=policy.for_seconds)
    if life is None or life.state != "pending" or not holds or not lasted:
        return step
    return Step(replace(life, state="firing", fired_at=now), (*step.changes, "firing"), step.events)


def _noticed(step: Step, now: datetime, policy: Policy) -> Step:
    life = step.life
    if life is None or life.noticed_at is not None or not _may_tell(life, now, policy):
        return step
    return Step(replace(life, noticed_at=now), (*step.changes, "noticed"), (*step.events, "firing"))


def _escalated(step: Step, now: datetime, policy: Policy) -> Step:
    life = step.life
    if life is None or life.escalated_at is not None or not _may_tell(life, now, policy):
        return step
    if policy.escalate_after is None or life.noticed_at is None:
        return step
    if now - life.noticed_at < timedelta(seconds=policy.escalate_after):
        return step
    return Step(replace(life, escalated_at=now), (*step.changes, "escalated"), (*step.events, "escalated"))


def _may_tell(life: Life, now: datetime, policy: Policy) -> bool:
    """Whether people want to hear of it now."""
    silenced = life.silenced_until is not None and life.silenced_until > now
    return life.is_there and life.acknowledged_at is None and not silenced and not policy.quiet


def is_quiet(begin: time | None, end: time | None, zone: ZoneInfo, now: datetime) -> bool:
    """Whether `now` is in the hours between two times of day in this zone, which may go over midnight."""
    if begin is None or end is None:
        return False
    here = now.astimezone(zone).time()
    return begin <= here < end if begin <= end else here >= begin or here < end
