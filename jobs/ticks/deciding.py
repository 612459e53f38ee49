"""What becomes of each tick: pure.

A tick that is sent within GRACE of its time is merely late. Later than that
Beat was away, and the schedule's catch-up policy says what becomes of it.
"""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from jobs.models.schedules import CatchUp, Overlap, Tick
from jobs.ticks.rhythms import LEAST, Interval, Rhythm

GRACE = timedelta(seconds=30)
# After a long absence so many ticks of a schedule have a row each; those before them share one.
LISTED, CAUGHT_UP = 100, 1_000
# What was due before is not looked for one by one.
HORIZON = timedelta(days=400)

Outcome = Tick.Outcome


class Reason(StrEnum):
    """Why a tick became what it did; empty for what went as it should."""

    NONE = ""
    AWAY = "away"  # nobody was there to send it
    LATER = "later"  # a later one was sent in its place
    FAULTY = "faulty"  # its job can't be made
    CAUGHT_UP = "caught up"  # sent after its time
    WAITED = "waited"  # sent when the job before had ended
    BACKFILLED = "backfilled"  # sent because somebody asked for it
    ASKED = "asked"  # somebody wished so
    RUNNING = "running"  # the job before had not ended
    ONE_WAITS = "one waits"  # another tick waits for that already
    OFF = "off"  # the schedule was switched off while it waited


@dataclass(frozen=True)
class Plan:
    """What decides the ticks of one schedule. `jitter` is in seconds; nothing is due at or after `ends`."""

    key: int
    rhythm: Rhythm
    starts: datetime | None = None
    ends: datetime | None = None
    once: bool = False
    overlap: str = Overlap.ALLOW
    catch_up: str = CatchUp.ONCE
    jitter: float = 0.0
    paused_until: datetime | None = None
    paused_by: str = ""
    skip_due: datetime | None = None
    skipped_by: str = ""


@dataclass(frozen=True)
class Ruling:
    """What becomes of the tick due at `due`, or of `count` ticks from there to `until`."""

    due: datetime
    outcome: Outcome
    reason: Reason = Reason.NONE
    detail: str = ""
    count: int = 1
    until: datetime | None = None

    @property
    def last(self) -> datetime:
        """The latest due time that it is about."""
        return self.until or self.due


def next_due(plan: Plan, after: datetime) -> datetime | None:
    """The first due time after a moment."""
    if plan.starts is not None and after < plan.starts:
        after = plan.starts - LEAST
    due = plan.rhythm.after(after)
    return None if due is None or (plan.ends is not None and due >= plan.ends) else due


def due_between(plan: Plan, after: datetime, until: datetime) -> Iterator[datetime]:
    """Every due time after one moment, up to and with the other."""
    due = next_due(plan, after)
    while due is not None and due <= until:
        yield due
        due = next_due(plan, due)


def fires_at(plan: Plan, due: datetime) -> datetime:
    """When this tick is to be sent: the same moment whoever asks."""
    if plan.jitter <= 0:
        return due
    share = zlib.crc32(f"{plan.key} {due.timestamp()}".encode()) / 2**32
    return due + timedelta(seconds=plan.jitter * share)


def next_fire(plan: Plan, after: datetime) -> datetime | None:
    """When the first tick after `after` is to be sent."""
    due = next_due(plan, after)
    return None if due is None else fires_at(plan, due)


def next_unsent(plan: Plan, after: datetime, now: datetime) -> datetime | None:
    """The first due time that is to be sent later than `now`: with jitter it may itself have gone by."""
    begin = max(after, now - timedelta(seconds=plan.jitter) - LEAST)
    due = next_due(plan, begin)
    while due is not None and fires_at(plan, due) <= now:
        due = next_due(plan, due)
    return due


def decide(
    plan: Plan,
    after: datetime,
    now: datetime,
    running: str | None = None,
    waits: bool = False,
    meanwhile: Callable[[], None] = lambda: None,
) -> list[Ruling]:
    """What becomes of each tick due after `after` that is to be sent by `now`, in order.

    `running` is a job of an earlier tick that has not ended, `waits` says that a tick is held already.
    `meanwhile` is called again and again: after a long absence this takes seconds.
    """
    folded, dues = _backlog(plan, after, now, meanwhile)
    rulings = [_ruled(plan, due, now) for due in dues]
    rulings = _caught_up(plan, rulings)
    if plan.once:
        rulings = _up_to_the_first_sent(rulings)
    return [*folded, *_not_overlapping(plan, rulings, running, waits)]


def _backlog(
    plan: Plan, after: datetime, now: datetime, meanwhile: Callable[[], None]
) -> tuple[list[Ruling], Sequence[datetime]]:
    """The latest ticks one by one, and those before them as one ruling."""
    most = CAUGHT_UP if plan.catch_up == CatchUp.ALL else LISTED
    first, skipped, after = _far_behind(plan, after, now, most)
    dues: deque[datetime] = deque(maxlen=most)
    until = after
    for due in due_between(plan, after, now):
        meanwhile()
        if fires_at(plan, due) > now:
            break
        if len(dues) == most:
            first, skipped, until = first or dues[0], skipped + 1, dues[0]
        dues.append(due)
    if first is None:
        return [], dues
    return [Ruling(first, Outcome.MISSED, Reason.AWAY, count=skipped, until=until)], dues


def _far_behind(
    plan: Plan, after: datetime, now: datetime, most: int
) -> tuple[datetime | None, int, datetime]:
    """Not to walk from tick to tick: the first of many, how many, and where the walk begins."""
    rhythm = plan.rhythm
    if isinstance(rhythm, Interval) and (first := next_due(plan, after)) is not None:
        end = min(now, plan.ends - LEAST) if plan.ends else now
        too_many = (end - first) // rhythm.every - most
        if too_many > 0:
            return first, too_many, first + (too_many - 1) * rhythm.every
    return None, 0, after if isinstance(rhythm, Interval) else _horizon(plan, after, now)


def _horizon(plan: Plan, after: datetime, now: datetime) -> datetime:
    """What comes so rarely that none of it lies within the horizon is looked for before it."""
    begin = now - HORIZON
    return begin if begin > after and next(due_between(plan, begin, now), None) else after


def _ruled(plan: Plan, due: datetime, now: datetime) -> Ruling:
    """By itself, and with nothing before it."""
    if plan.skip_due == due:
        return Ruling(due, Outcome.SKIPPED, Reason.ASKED, plan.skipped_by)
    if plan.paused_until is not None and due < plan.paused_until:
        return Ruling(due, Outcome.PAUSED, Reason.ASKED, plan.paused_by)
    if now - fires_at(plan, due) > GRACE:
        return Ruling(due, Outcome.MISSED, Reason.AWAY)
    return Ruling(due, Outcome.FIRED)


def _caught_up(plan: Plan, rulings: list[Ruling]) -> list[Ruling]:
    """Those that Beat was away for, as the schedule's policy wishes."""
    missed = [place for place, ruling in enumerate(rulings) if ruling.outcome == Outcome.MISSED]
    if plan.catch_up == CatchUp.SKIP or not missed:
        return rulings
    if plan.catch_up == CatchUp.ALL:
        made_up = missed
    else:
        on_time = any(ruling.outcome == Outcome.FIRED for ruling in rulings)
        made_up = [] if on_time else missed[-1:]
    reasons = dict.fromkeys(missed, Reason.LATER)
    changed = [
        replace(ruling, reason=reasons[place]) if place in reasons else ruling
        for place, ruling in enumerate(rulings)
    ]
    for place in made_up:
        changed[place] = Ruling(rulings[place].due, Outcome.FIRED, Reason.CAUGHT_UP)
    return changed


def _up_to_the_first_sent(rulings: list[Ruling]) -> list[Ruling]:
    for place, ruling in enumerate(rulings):
        if ruling.outcome == Outcome.FIRED:
            return rulings[: place + 1]
    return rulings


def _not_overlapping(plan: Plan, rulings: list[Ruling], running: str | None, waits: bool) -> Iterator[Ruling]:
    """One after the other, as the schedule's policy wishes."""
    for ruling in rulings:
        if ruling.outcome != Outcome.FIRED or plan.overlap == Overlap.ALLOW:
            yield ruling
        elif running is None and not waits:
            running = ""
            yield ruling
        elif plan.overlap == Overlap.QUEUE and not waits:
            waits = True
            yield Ruling(ruling.due, Outcome.HELD, Reason.RUNNING, running or "")
        else:
            reason = Reason.ONE_WAITS if waits else Reason.RUNNING
            yield Ruling(ruling.due, Outcome.OVERLAPPED, reason, running or "")
