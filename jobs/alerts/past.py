"""Facts of earlier moments, for rules that are tried against the past."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby
from typing import Any

from django.db.models import QuerySet

from jobs.access import Span
from jobs.alerts.facts.buckets import Memory, minute_of, read_usual
from jobs.alerts.facts.queues import queue_facts
from jobs.alerts.shapes import Ends, EndsBy, Place, QueueFacts
from jobs.models import Bucket, QueueSample
from jobs.rollups import Sketch, Sketches
from jobs.scopes import Scope

MOST_ROWS = 100_000
MOST_SKETCHES = 20_000
# Of each minute, the samples of its first seconds are enough.
SAMPLED_IN = 6


class TooMuch(ValueError):
    """There is more to read than somebody waits for."""


@dataclass
class EndsThen:
    """How jobs ended, minute by minute."""

    began: datetime
    minutes: dict[int, list[tuple[Place, Ends]]] = field(default_factory=lambda: defaultdict(list))

    def within(self, begin: datetime, end: datetime) -> EndsBy:
        """How they ended in the whole minutes of a window."""
        found: dict[Place, Ends] = {}
        for minute in range(minute_of(begin), minute_of(end)):
            for place, ends in self.minutes.get(minute, ()):
                found[place] = found.get(place, Ends()).and_(ends)
        return found


@dataclass
class SketchesThen:
    """What jobs took, minute by minute."""

    minutes: dict[int, list[tuple[Place, Sketch]]] = field(default_factory=lambda: defaultdict(list))

    def within(self, begin: datetime, end: datetime) -> dict[Place, Sketch]:
        """What they took in the whole minutes of a window."""
        found: dict[Place, Sketch] = {}
        for minute in range(minute_of(begin), minute_of(end)):
            for place, sketch in self.minutes.get(minute, ()):
                found.setdefault(place, Sketch()).merge(sketch)
        return found


def ends_then(cluster_id: int, begin: datetime, end: datetime, span: Span) -> EndsThen:
    """One statement. Raises TooMuch."""
    rows = _minutes(cluster_id, begin, end, span).exclude(succeeded=0, failed=0)
    then = EndsThen(begin)
    for start, task, queue, good, bad in _not_too_many(
        rows.values_list("start", "task", "queue", "succeeded", "failed"), MOST_ROWS
    ):
        then.minutes[start].append((Place(task, queue), Ends(good, bad)))
    return then


def sketches_then(cluster_id: int, begin: datetime, end: datetime, span: Span, measure: str) -> SketchesThen:
    """One statement. Raises TooMuch."""
    rows = _minutes(cluster_id, begin, end, span).exclude(succeeded=0, failed=0)
    then = SketchesThen()
    columns = rows.values_list("start", "task", "queue", "sketches")
    for start, task, queue, text in _not_too_many(columns, MOST_SKETCHES):
        then.minutes[start].append((Place(task, queue), Sketches.loads(text).ended(measure)))
    return then


def usual_before(cluster_id: int, moment: datetime, days: int) -> EndsBy:
    """How jobs ended in the days before a moment."""
    return read_usual(cluster_id, moment, days, Memory())


def _minutes(cluster_id: int, begin: datetime, end: datetime, span: Span) -> QuerySet[Bucket]:
    rows = Bucket.objects.within(Scope((span,))).filter(cluster=cluster_id, tier=Bucket.MINUTE)
    return rows.filter(start__gte=minute_of(begin), start__lt=minute_of(end)).order_by()


def queues_then(
    cluster_id: int, begin: datetime, end: datetime, span: Span
) -> Iterator[tuple[datetime, list[QueueFacts]]]:
    """Each moment of samples; who read the queues then, and what was paused, is not known. Raises TooMuch."""
    rows = QueueSample.objects.within(Scope((span,))).filter(cluster=cluster_id, at__gte=begin, at__lt=end)
    samples = _not_too_many(rows.filter(at__second__lt=SAMPLED_IN).order_by("at"), MOST_ROWS)
    for at, together in groupby(samples, key=lambda sample: sample.at):
        yield at, [queue_facts(each, (), paused=False, waited=0.0, taken=0) for each in together]


def _not_too_many(rows: QuerySet[Any, Any], most: int) -> list[Any]:
    found = list(rows[: most + 1])
    if len(found) > most:
        raise TooMuch("this is too much to read: name a task or a queue, or try a shorter time")
    return found
