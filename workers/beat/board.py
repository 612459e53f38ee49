"""The schedules in Beat's memory: read anew where they changed, in the order in which they are to be sent."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from celery.utils.log import get_logger
from django_celery_beat.models import PeriodicTask, PeriodicTasks

from jobs.models import Timeline
from jobs.ticks.deciding import Plan, next_fire
from jobs.ticks.plans import (
    UNREADABLE,
    beginning,
    in_a_line,
    message_problem,
    plan_of,
    policy_of,
    rhythm_text,
    timeline_of,
)
from workers.beat.letters import UNSENDABLE
from workers.schedules import is_done
from workers.signatures import routed

logger = get_logger(__name__)

LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
WHENS = ("interval", "crontab", "solar", "clocked")
RELATED = (*WHENS, "policy")
AT_ONCE = 500


@dataclass
class Entry:
    """A schedule that runs: its row, its plan, and how far it is decided."""

    row: PeriodicTask
    plan: Plan
    decided_until: datetime
    next_at: datetime | None
    rhythm: str
    queue: str = ""

    @property
    def pk(self) -> int:
        return int(self.row.pk)

    def decided(self, until: datetime) -> None:
        """All ticks due up to `until` have their rows."""
        self.decided_until = until
        self.next_at = next_fire(self.plan, until)

    def timeline(self) -> Timeline:
        """As it is to be stored."""
        return Timeline(
            schedule_id=self.pk,
            rhythm=self.rhythm,
            decided_until=self.decided_until,
            next_at=self.next_at,
            queue=self.queue[:255],
        )


class Board:
    """All enabled schedules. What can't be read is left out, and said once."""

    def __init__(self) -> None:
        self.entries: dict[int, Entry] = {}
        self.unreadable: dict[int, str] = {}
        self._facts: dict[int, tuple[Any, ...]] = {}
        self._heap: list[tuple[datetime, int]] = []
        self._mark: datetime | None = None
        self._read_at: datetime | None = None

    def forget(self) -> None:
        """Another Beat decides meanwhile: what is known here will not be true any more."""
        self.entries, self._facts, self._heap = {}, {}, []
        self._mark = self._read_at = None

    def changed(self) -> bool:
        """Whether somebody edited a schedule since the last reading."""
        return self._mark is None or (PeriodicTasks.last_change() or LONG_AGO) != self._mark

    def read(self, now: datetime, keep: Callable[[], None] = lambda: None) -> list[Entry]:
        """Read what is new or has changed; those of which the timeline is to be stored.

        `keep` is called between rows: reading thousands takes a while.
        """
        # First the mark, then the rows: an edit between the two is found by the next look.
        mark = PeriodicTasks.last_change() or LONG_AGO
        facts = {row[0]: row for row in _enabled().values_list(*_columns())}
        fresh = [pk for pk, row in facts.items() if self._facts.get(pk) != row]
        for pk in self._facts.keys() - facts.keys():
            self._drop(pk)
        adopted = []
        for row in _rows(fresh):
            keep()
            entry = self._adopt(row, now)
            adopted += [entry] if entry is not None else []
        self._facts, self._mark, self._read_at = facts, mark, now
        return adopted

    def done(self, pk: int) -> None:
        """It was switched off by Beat itself: whoever switches it on again will have changed it."""
        self._drop(pk)
        self._facts.pop(pk, None)

    def leave_out(self, entry: Entry, fault: str) -> None:
        """It can't be decided: until somebody edits it, the others go on without it."""
        entry.next_at = None
        self._tell(entry.row, fault)

    def due(self, now: datetime) -> list[Entry]:
        """Those that have a tick to be sent by `now`, the longest due first; they stay where they are."""
        found: dict[int, Entry] = {}
        while self._heap and self._heap[0][0] <= now:
            at, pk = heapq.heappop(self._heap)
            entry = self.entries.get(pk)
            if entry is not None and entry.next_at == at:
                found[pk] = entry
        return list(found.values())

    def place(self, entries: Iterable[Entry]) -> None:
        """Have these looked at again when their next tick is to be sent."""
        for entry in entries:
            if entry.next_at is not None:
                heapq.heappush(self._heap, (entry.next_at, entry.pk))

    def next_at(self) -> datetime | None:
        """When the next tick is to be sent, or a little earlier."""
        return self._heap[0][0] if self._heap else None

    def _adopt(self, row: PeriodicTask, now: datetime) -> Entry | None:
        """The schedule as it is now; of a known one, memory knows best how far it is decided."""
        known = self.entries.pop(row.pk, None)
        timeline = timeline_of(row) if known is None else known.timeline()
        try:
            entry = self._entry(row, timeline, known is not None, now)
        except UNREADABLE as fault:
            self._tell(row, f"the schedule can't be read: {in_a_line(fault)}")
            return None
        self._tell(row, message_problem(row))
        self.entries[row.pk] = entry
        self.place([entry])
        return None if timeline is not None and _is_stored(timeline, entry) else entry

    def _entry(self, row: PeriodicTask, timeline: Timeline | None, remembered: bool, now: datetime) -> Entry:
        rhythm, begin = rhythm_text(row), beginning(row, timeline, now)
        if remembered and timeline is not None and timeline.rhythm != rhythm and row.clocked is None:
            # When it was last read it still had its old rhythm, whatever the row says of its edits.
            begin = max(begin, self._read_at or begin)
        plan = plan_of(row, begin, policy_of(row))
        next_at = None if is_done(row, now) else next_fire(plan, begin)
        return Entry(row, plan, begin, next_at, rhythm, queue_of(row))

    def _drop(self, pk: int) -> None:
        self.entries.pop(pk, None)
        self.unreadable.pop(pk, None)

    def _tell(self, row: PeriodicTask, fault: str | None) -> None:
        """Say what is wrong with a schedule when it begins, not each time it is met."""
        if fault is None:
            self.unreadable.pop(row.pk, None)
        elif self.unreadable.get(row.pk) != fault:
            self.unreadable[row.pk] = fault
            logger.warning("schedule %r can't run: %s", row.name, fault)


def _is_stored(timeline: Timeline, entry: Entry) -> bool:
    now = entry.timeline()
    stored = (timeline.rhythm, timeline.decided_until, timeline.next_at, timeline.queue)
    return stored == (now.rhythm, now.decided_until, now.next_at, now.queue)


def queue_of(row: PeriodicTask) -> str:
    """Where its jobs go; empty if no route leads anywhere."""
    try:
        return str(row.queue or routed(row.task))
    except UNSENDABLE:
        return ""


def _enabled() -> Any:
    return PeriodicTask.objects.filter(enabled=True)


def _columns() -> Sequence[str]:
    """All that a schedule is made of, but for what Beat counts itself."""
    counted = {"last_run_at", "total_run_count"}
    own = [field.attname for field in PeriodicTask._meta.concrete_fields if field.name not in counted]
    return [*own, *(name for relation in RELATED for name in _columns_of(relation))]


def _columns_of(relation: str) -> Iterator[str]:
    model = PeriodicTask._meta.get_field(relation).related_model
    return (f"{relation}__{field.name}" for field in model._meta.concrete_fields if not field.is_relation)


def _rows(ids: Sequence[int]) -> Iterator[PeriodicTask]:
    rows = PeriodicTask.objects.select_related(*RELATED, "timeline")
    for start in range(0, len(ids), AT_ONCE):
        yield from rows.filter(pk__in=ids[start : start + AT_ONCE])
