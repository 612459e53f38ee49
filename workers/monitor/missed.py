"""The loop that writes down what Beat did not send in time, so that a silent Beat is no silence.

Beat, when it is back, decides the same ticks again: what it still sends is no
longer missed (`workers.beat.firing`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from django.db import IntegrityError
from django.db.models import F
from django.db.models.functions import Greatest
from django_celery_beat.models import PeriodicTask

from jobs.metrics import totals
from jobs.models import CatchUp, Overlap, Tick, Timeline
from jobs.store.turns import written
from jobs.ticks.deciding import GRACE, Outcome, Ruling, decide
from jobs.ticks.plans import UNREADABLE, beginning, plan_of, policy_of, rhythm_text, timeline_of
from workers.beat.board import queue_of
from workers.monitor.rounds import go_round

INTERVAL = 5.0
# So many schedules a round: the others come in the next one.
MOST = 500
NEVER = datetime.min.replace(tzinfo=UTC)


class Overtaken(Exception):
    """Beat, or an edit, has moved the timeline meanwhile."""


class MissedTicks:
    """Works every INTERVAL seconds while this monitor leads; `changed` is called after each change."""

    def __init__(self, leading: Callable[[], bool], changed: Callable[[], None] = lambda: None) -> None:
        self._leading = leading
        self._changed = changed
        # Up to where the ticks of a schedule are written down by this process.
        self._seen: dict[int, datetime] = {}
        self._looked: dict[int, datetime] = {}

    def run(self, stop: threading.Event) -> None:
        """Work until told to stop."""
        go_round(self._round, stop, INTERVAL, "missed ticks are written down later")

    def _round(self) -> None:
        if self._leading() and self.write_down(datetime.now(UTC)):
            self._changed()

    def write_down(self, now: datetime) -> int:
        """Write down what should have been sent GRACE ago and was not; how many rows."""
        self._forget_those_that_are_off()
        return sum(self._write(row, now) for row in self._overdue(now))

    def _overdue(self, now: datetime) -> list[PeriodicTask]:
        late = Timeline.objects.filter(next_at__lt=now - GRACE, schedule__enabled=True)
        never_seen = PeriodicTask.objects.filter(timeline=None, enabled=True, date_changed__lt=now - GRACE)
        ids = [*late.order_by("next_at").values_list("schedule", flat=True)]
        ids += never_seen.order_by("pk").values_list("pk", flat=True)[:MOST]
        late_ones = set(ids)
        self._seen = {pk: seen for pk, seen in self._seen.items() if pk in late_ones}
        self._looked = {pk: at for pk, at in self._looked.items() if pk in late_ones}
        # Those that were looked at longest ago go first.
        ids.sort(key=lambda pk: self._looked.get(pk, NEVER))
        rows = PeriodicTask.objects.select_related(
            "interval", "crontab", "solar", "clocked", "policy", "timeline"
        )
        return list(rows.filter(pk__in=ids[:MOST]))

    def _write(self, row: PeriodicTask, now: datetime) -> int:
        self._looked[row.pk] = now
        try:
            rulings, begin = self._missed(row, now)
            written_down = _store(row, rulings, now)
        except UNREADABLE:
            return 0
        except (IntegrityError, Overtaken):
            return 0  # Beat was first, and the next round sees it
        self._seen[row.pk] = max([begin, *(ruling.last for ruling in rulings)])
        return written_down

    def _missed(self, row: PeriodicTask, now: datetime) -> tuple[list[Ruling], datetime]:
        begin = beginning(row, timeline_of(row), now)
        begin = max(begin, self._seen.get(row.pk, begin))
        plan = replace(plan_of(row, begin, policy_of(row)), catch_up=CatchUp.SKIP, overlap=Overlap.ALLOW)
        rulings = [each for each in decide(plan, begin, now) if each.outcome == Outcome.MISSED]
        return rulings, begin

    def _forget_those_that_are_off(self) -> None:
        """What is not due while a schedule is switched off was not missed when it is on again."""
        off = Timeline.objects.filter(schedule__enabled=False).exclude(rhythm="")
        if off.exists():
            with written():
                now = datetime.now(UTC)
                off.update(rhythm="", next_at=None, decided_until=Greatest(F("decided_until"), now))


def _store(row: PeriodicTask, rulings: Sequence[Ruling], now: datetime) -> int:
    """Those that have no row yet. Raises Overtaken, and IntegrityError if Beat writes the same one."""
    if not rulings:
        return 0
    with written():
        _hold_timeline(row)
        rows = _unknown(row, rulings, now)
        Tick.objects.bulk_create(rows, batch_size=100)
        totals.add(totals.TICKS, {Outcome.MISSED: sum(tick.count for tick in rows)})
        if timeline_of(row) is None:
            _first_seen(row, rulings[0].due, now)
    return len(rows)


def _hold_timeline(row: PeriodicTask) -> None:
    """Until the transaction ends Beat decides none of these ticks. Raises Overtaken if it has already."""
    timeline, now = timeline_of(row), Timeline.objects.filter(pk=row.pk)
    if timeline is None:
        overtaken = now.exists()
    else:
        mine = now.select_for_update().filter(decided_until=timeline.decided_until, rhythm=timeline.rhythm)
        overtaken = not mine.exists()
    if overtaken:
        raise Overtaken


def _unknown(row: PeriodicTask, rulings: Sequence[Ruling], now: datetime) -> list[Tick]:
    known = set(Tick.objects.filter(schedule=row.pk, due__gte=rulings[0].due).values_list("due", flat=True))
    return [
        Tick(
            schedule_id=row.pk, due=ruling.due, outcome=ruling.outcome, reason=ruling.reason, known_at=now,
            count=ruling.count, until=ruling.until,
        )
        for ruling in rulings
        if ruling.due not in known
    ]  # fmt: skip


def _first_seen(row: PeriodicTask, due: datetime, now: datetime) -> None:
    """A schedule that no Beat has seen yet is decided from its beginning."""
    begin = beginning(row, None, now)
    timeline = Timeline(
        schedule=row, rhythm=rhythm_text(row), decided_until=begin, next_at=due, queue=queue_of(row)[:255]
    )
    Timeline.objects.bulk_create([timeline], ignore_conflicts=True)
