"""The transaction that sends what is due: ticks, jobs in the outbox, how far it is decided; or nothing."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Any

from django.db import transaction
from django.db.models import F
from django_celery_beat.models import PeriodicTask

from jobs import outbox
from jobs.metrics import totals
from jobs.models import Tick, Timeline
from jobs.outbox import Message
from jobs.store.turns import written
from jobs.ticks.deciding import Outcome, Reason, Ruling
from workers.beat.known import Known, count_between, read_known, reopen
from workers.beat.lease import Lease
from workers.dispatch import dispatcher


@dataclass(frozen=True)
class Sending:
    """What becomes of one tick: with a message it is sent."""

    schedule: int
    ruling: Ruling
    message: Message | None = None


@dataclass
class Round:
    """What is committed together. `once` are schedules that are switched off when they have sent a job."""

    now: datetime
    sendings: list[Sending] = field(default_factory=list)
    timelines: list[Timeline] = field(default_factory=list)
    once: set[int] = field(default_factory=set)


def commit(lease: Lease, work: Round) -> int:
    """All of it or nothing; how many jobs were put into the outbox.

    A tick that has its row already is not sent again, unless it was missed.
    Raises Fenced, and what the database raises.
    """
    with written():
        lease.fence()
        store_timelines(work.timelines)
        sent = _settle(work)
        rows = outbox.put_in_hand([each.message for each in sent if each.message is not None])
        _count(sent, work)
        transaction.on_commit(partial(dispatcher.post, rows), robust=True)
    return len(sent)


def store_timelines(timelines: Sequence[Timeline]) -> None:
    """How far these schedules are decided."""
    Timeline.objects.bulk_create(
        timelines,
        batch_size=200,
        update_conflicts=True,
        unique_fields=["schedule"],
        update_fields=["rhythm", "decided_until", "next_at", "queue"],
    )


def _settle(work: Round) -> list[Sending]:
    """Write the rows of ticks; those whose job is to be sent."""
    known = read_known([(each.schedule, each.ruling) for each in work.sendings], work.now)
    new = [left for each in work.sendings if (left := _without_known(known, each)) is not None]
    Tick.objects.bulk_create([row_of(each, work.now) for each in new], batch_size=100)
    decided = [*new, *(each for each in work.sendings if _reopened(known, each, work.now))]
    became: Counter[str] = Counter()
    for each in decided:
        became[each.ruling.outcome] += each.ruling.count
    totals.add(totals.TICKS, became)
    return [each for each in decided if each.message is not None]


def _without_known(known: Known, each: Sending) -> Sending | None:
    """What has no row yet; of many in one, those that have none."""
    ruling = each.ruling
    if ruling.count == 1:
        return None if known.covering(each.schedule, ruling.due) else each
    count = count_between(each.schedule, ruling.due, ruling.last)
    if count == 0:
        return each
    left = replace(ruling, due=ruling.last, count=ruling.count - count)
    if left.count <= 0 or known.covering(each.schedule, left.due):
        return None
    return Sending(each.schedule, left)


def _reopened(known: Known, each: Sending, now: datetime) -> bool:
    """Whether a tick that was written down as missed has become something else."""
    row = known.covering(each.schedule, each.ruling.due) if each.ruling.count == 1 else None
    if row is None or row.outcome != Outcome.MISSED or each.ruling.outcome == Outcome.MISSED:
        return False
    return reopen(row, row_of(each, now))


def row_of(each: Sending, now: datetime) -> Tick:
    """Its row."""
    ruling, message = each.ruling, each.message
    return Tick(
        schedule_id=each.schedule,
        due=ruling.due,
        outcome=ruling.outcome,
        reason=ruling.reason,
        detail=ruling.detail[:500],
        task_id=message.task_id if message else None,
        fired_at=now if message else None,
        known_at=now,
        count=ruling.count,
        until=ruling.until,
    )


def _count(sent: Sequence[Sending], work: Round) -> None:
    """django-celery-beat's own columns, and nothing else of its rows: no edit made meanwhile is lost."""
    by_count: defaultdict[int, list[int]] = defaultdict(list)
    for schedule, count in Counter(each.schedule for each in sent).items():
        by_count[count].append(schedule)
    for count, schedules in by_count.items():
        for start in range(0, len(schedules), 500):
            rows = PeriodicTask.objects.filter(pk__in=schedules[start : start + 500])
            rows.update(last_run_at=work.now, total_run_count=F("total_run_count") + count)
    done = work.once & {each.schedule for each in sent}
    if done:
        PeriodicTask.objects.filter(pk__in=done).update(enabled=False, total_run_count=0)


# Ticks that wait for the job before them


def let_go(lease: Lease, tick: Tick, message: Message | None, now: datetime) -> bool:
    """Send the job of a tick that was held; without a message it is left out, for its schedule is off."""
    changes: dict[str, Any] = {"outcome": Outcome.SKIPPED, "reason": Reason.OFF, "known_at": now}
    if message is not None:
        fired = {"outcome": Outcome.FIRED, "reason": Reason.WAITED, "fired_at": now}
        changes |= {**fired, "task_id": message.task_id}
    with written():
        lease.fence()
        if not Tick.objects.filter(pk=tick.pk, outcome=Outcome.HELD).update(**changes):
            return False
        totals.add(totals.TICKS, {changes["outcome"]: 1})
        if message is not None:
            rows = outbox.put_in_hand([message])
            work = Round(now)
            _count([Sending(tick.schedule_id, Ruling(tick.due, Outcome.FIRED), message)], work)
            transaction.on_commit(partial(dispatcher.post, rows), robust=True)
    return True
