"""The rows that ticks have already: written by the monitor, or by a commit of which Beat never heard."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db.models import F, Q, Sum

from jobs.models import Tick
from jobs.ticks.deciding import Ruling
from jobs.ticks.rhythms import LEAST

# The ticks of schedules that are no further behind are read together.
RECENT = timedelta(minutes=2)
COLUMNS = ("outcome", "reason", "detail", "task_id", "fired_at", "known_at")


@dataclass
class Known:
    """Rows by schedule and due time, and those of each schedule that stand for many."""

    by_due: dict[tuple[int, datetime], Tick] = field(default_factory=dict)
    spans: defaultdict[int, list[Tick]] = field(default_factory=lambda: defaultdict(list))

    def add(self, row: Tick) -> None:
        """One more."""
        self.by_due[row.schedule_id, row.due] = row
        if row.until is not None:
            self.spans[row.schedule_id].append(row)

    def covering(self, schedule: int, due: datetime) -> Tick | None:
        """The row that says what became of this tick."""
        found = self.by_due.get((schedule, due))
        return found or next((row for row in self.spans[schedule] if row.due <= due <= _end(row)), None)


def read_known(rulings: Sequence[tuple[int, Ruling]], now: datetime) -> Known:
    """What may have been written of these; after a long absence few rows are read, not all of its ticks."""
    by_schedule: defaultdict[int, list[Ruling]] = defaultdict(list)
    for schedule, ruling in rulings:
        by_schedule[schedule].append(ruling)
    firsts = {schedule: min(each.due for each in told) for schedule, told in by_schedule.items()}
    recent = {schedule: due for schedule, due in firsts.items() if due > now - RECENT}
    known = Known()
    if recent:
        for row in Tick.objects.filter(schedule__in=recent, due__gte=min(recent.values())):
            known.add(row)
    for schedule in firsts.keys() - recent.keys():
        one_by_one = min(each.last for each in by_schedule[schedule])
        rows = Tick.objects.filter(schedule=schedule, due__gte=firsts[schedule])
        for row in rows.filter(Q(due__gte=one_by_one) | Q(until__isnull=False)):
            known.add(row)
    return known


def count_between(schedule: int, first: datetime, last: datetime) -> int:
    """How many ticks of a span have their row, or their share of one."""
    rows = Tick.objects.filter(schedule=schedule, due__range=(first, last))
    return int(rows.aggregate(count=Sum("count"))["count"] or 0)


def reopen(row: Tick, fresh: Tick) -> bool:
    """`row` said that the tick was missed: now `fresh` says what became of it. False if it says otherwise."""
    if row.count > 1:
        return _taken_out(row, fresh)
    changes: dict[str, Any] = {name: getattr(fresh, name) for name in (*COLUMNS, "due", "until")}
    return bool(Tick.objects.filter(pk=row.pk, outcome=Tick.Outcome.MISSED, count=1).update(**changes))


def _taken_out(row: Tick, fresh: Tick) -> bool:
    """One of the many that a row stands for gets a row of its own; if it was the first, theirs moves on."""
    due = row.due + LEAST if row.due == fresh.due else row.due
    mine = Tick.objects.filter(pk=row.pk, outcome=Tick.Outcome.MISSED, due=row.due, count__gt=1)
    if not mine.update(count=F("count") - 1, due=due):
        return False
    row.due, row.count = due, row.count - 1
    fresh.save(force_insert=True)
    return True


def _end(row: Tick) -> datetime:
    return row.until or row.due
