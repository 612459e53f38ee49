"""What happened in a span of the past: read from the widest buckets that fit, however long it is."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import reduce
from itertools import pairwise
from operator import or_

from django.db.models import OuterRef, Q, Subquery
from django.utils.translation import gettext as _

from jobs import history
from jobs.headlines import MINUTE, NOTHING, Flow, total
from jobs.liveness import seconds_since
from jobs.models import Bucket, Cluster, QueueSample, WorkerSample
from jobs.piles import Pile
from jobs.retention import Retention
from jobs.rollups import Sketch
from jobs.scopes import Scope
from jobs.stats import TIERS, fitting

# More sketches than this are not merged for one page: then the percentile is not known.
MOST_BUCKETS = 10_000
# More than this are not summed for one page, either.
MOST_COUNTED = 200_000


class TooMuch(ValueError):
    """A span is not read at once; the text says why."""


@dataclass(frozen=True)
class PastSpan:
    """From `since` until before `until`, in seconds since the epoch: whole minutes, or what is left of them.

    `step` is the tier of its chart. `widened`: minutes at one of its ends are no longer kept, so that
    the end was moved outwards, to a whole hour or day. `began`: nothing is known of what was before.
    """

    since: int
    until: int
    step: int = MINUTE
    widened: bool = False
    began: int = 0

    @classmethod
    def kept(cls, since: int, until: int, now: float, retention: Retention, began: int = 0) -> PastSpan:
        """This span, as far as the buckets that are still kept can tell it."""
        first, last = finest_tier(since, now, retention), _tier_of_end(since, until, now, retention)
        begin, end = since // first * first, -(-until // last) * last
        widened = (begin, end) != (since, until)
        return cls(begin, end, max(first, fitting(end - begin)), widened, began)

    @property
    def seconds(self) -> int:
        return self.until - self.since

    @property
    def steps(self) -> range:
        """The steps of the chart, counted since the epoch; the outer ones may lie in it in part."""
        return range(self.since // self.step, -(-self.until // self.step))

    def buckets(self, widest: int) -> Q:
        """Those that hold it, each minute once, none wider than this tier."""
        parts = cover(self.since, self.until, widest)
        return reduce(or_, (Q(tier=tier, start__gte=part.start, start__lt=part.stop) for tier, part in parts))


def finest_tier(at: float, now: float, retention: Retention) -> int:
    """The width of the narrowest buckets that are still kept of a moment."""
    kept = {Bucket.MINUTE: retention.minutes, Bucket.HOUR: retention.hours}
    return next((tier for tier, age in kept.items() if at >= now - age.total_seconds()), Bucket.DAY)


def _tier_of_end(since: int, until: int, now: float, retention: Retention) -> int:
    """The narrowest buckets of which all are kept that the span needs at its end."""
    for tier, wider in pairwise(TIERS):
        if finest_tier(max(since, until // wider * wider), now, retention) <= tier:
            return tier
    return Bucket.DAY


def cover(begin: int, end: int, widest: int) -> list[tuple[int, range]]:
    """The fewest buckets, as tiers and their numbers, that hold the time between two moments. Pure.

    Both lie on an edge of some tier, in seconds.
    """
    parts: list[tuple[int, range]] = []
    for tier, wider in zip(TIERS, (*TIERS[1:], None), strict=True):
        inner = end if wider is None else -(-begin // wider) * wider
        outer = end if wider is None else end // wider * wider
        if wider is None or wider > widest or inner >= outer:
            return [*parts, (tier, range(begin // tier, end // tier))]
        edges = (range(begin // tier, inner // tier), range(outer // tier, end // tier))
        parts += [(tier, edge) for edge in edges if edge]
        begin, end = inner, outer
    return parts


@dataclass(frozen=True)
class Happened:
    """Counts of a span by queue and step, and waits (seconds) by step and queue, where samples tell of them.

    `total` is queued-to-complete, None where it was too much to read.
    """

    span: PastSpan
    queues: Mapping[str, Mapping[int, Flow]]
    total: Sketch | None
    oldest: Mapping[int, Mapping[str, float]]

    @property
    def flow(self) -> Flow:
        """All of it in one."""
        return total(flow for steps in self.queues.values() for flow in steps.values())

    def flow_of(self, step: int, queue: str | None = None) -> Flow | None:
        """What happened in a step, in one queue or in all; None before the record began."""
        if (step + 1) * self.span.step <= self.span.began:
            return None
        named = self.queues.values() if queue is None else [self.queues.get(queue, {})]
        return total(steps.get(step, NOTHING) for steps in named)

    def oldest_of(self, step: int, queue: str | None = None) -> float | None:
        """How long the oldest had waited at the last look in a step."""
        seen = self.oldest.get(step, {})
        return max(seen.values(), default=None) if queue is None else seen.get(queue)


def read(cluster_id: int, span: PastSpan, scope: Scope) -> Happened:
    """Five statements at most; their cost grows with steps, tasks and queues, not with jobs.

    Raises TooMuch.
    """
    return Happened(
        span=span,
        queues=_read_flows(cluster_id, span, scope),
        total=_read_total(cluster_id, span, scope),
        oldest=_read_oldest(cluster_id, span, scope) if span.step == MINUTE else {},
    )


def read_began(cluster_id: int) -> int | None:
    """The first moment that is counted, in seconds since the epoch; days are kept longer than hours."""
    firsts = (_first(tier) for tier in (Bucket.HOUR, Bucket.DAY))
    hour, day = Cluster.objects.values_list(*firsts).get(pk=cluster_id)
    if day is not None and (hour is None or day < hour * Bucket.HOUR // Bucket.DAY):
        return int(day * Bucket.DAY)
    return None if hour is None else int(hour * Bucket.HOUR)


def _first(tier: int) -> Subquery:
    of_cluster = Bucket.objects.filter(cluster=OuterRef("pk"), tier=tier)
    return Subquery(of_cluster.order_by("start").values("start")[:1])


def _read_flows(cluster_id: int, span: PastSpan, scope: Scope) -> dict[str, dict[int, Flow]]:
    rows = Bucket.objects.within(scope).filter(span.buckets(span.step), cluster=cluster_id).order_by()
    if rows[MOST_COUNTED : MOST_COUNTED + 1].exists():
        raise TooMuch(_("That is too much at once: ask for a shorter span."))
    queues: dict[str, dict[int, Flow]] = defaultdict(lambda: defaultdict(Flow))
    for tier, start, queue, *counts in rows.values_list("tier", "start", "queue").annotate(
        **history.FLOW_SUMS
    ):
        queues[queue][start * tier // span.step] += Flow(*counts)
    return queues


def _read_total(cluster_id: int, span: PastSpan, scope: Scope) -> Sketch | None:
    rows = Bucket.objects.within(scope).filter(span.buckets(Bucket.DAY), cluster=cluster_id).order_by()
    texts = list(rows.values_list("sketches", flat=True)[: MOST_BUCKETS + 1])
    if len(texts) > MOST_BUCKETS:
        return None
    pile = Pile("total")
    for text in texts:
        pile.add(text)
    return pile.sketch("total")


def _read_oldest(cluster_id: int, span: PastSpan, scope: Scope) -> dict[int, dict[str, float]]:
    """As the monitor saw it at its last look in each minute: it looks at workers and queues at once."""
    ends = [datetime.fromtimestamp(end, UTC) for end in (span.since, span.until)]
    looks = WorkerSample.objects.filter(cluster=cluster_id, at__gte=ends[0], at__lt=ends[1]).order_by("at")
    last = {int(at.timestamp() // MINUTE): at for at in looks.values_list("at", flat=True)}
    rows = QueueSample.objects.within(scope).filter(cluster=cluster_id, at__in=list(last.values()))
    oldest: dict[int, dict[str, float]] = defaultdict(dict)
    for at, queue, depth, oldest_at in rows.values_list("at", "queue", "depth", "oldest_at"):
        if depth == 0 or oldest_at is not None:
            oldest[int(at.timestamp() // MINUTE)][queue] = seconds_since(oldest_at, at) if depth else 0.0
    return oldest
