"""Whether the record can be trusted now: what was last heard of the processes that make it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import orjson
from django.db.models import Aggregate, Count, Max, OuterRef, QuerySet, Subquery, Sum

from jobs.job_frame import epoch
from jobs.liveness import (
    LAG_LIMIT,
    SAMPLE_STALE_AFTER,
    Sight,
    Verdict,
    heartbeat_state,
    seconds_since,
    verdict,
)
from jobs.models import Action, Cluster, Gap, Heartbeat, Quarantine

GAPS_OF = timedelta(hours=24)


@dataclass(frozen=True)
class Reading:
    """How far the record has read its sources; lag in seconds."""

    last_event: datetime | None
    committed: datetime | None
    lag: float | None


class _Source(NamedTuple):
    """How far one source was read, None where none is; below, what is the same for all sources."""

    last_event_at: datetime | None
    committed_at: datetime | None
    lag: float | None
    monitor_at: datetime | None
    monitor_detail: str | None
    gaps: int | None
    lost: int | None
    last_gap: datetime | None
    quarantined: int | None
    acted: int | None


@dataclass(frozen=True)
class Gaps:
    """Spans of the last day in which events are known to be missing."""

    count: int
    lost: int
    last_end: datetime | None


@dataclass(frozen=True)
class Trust:
    """All signs of life and of loss, read at one moment."""

    now: datetime
    heartbeats: Mapping[str, Heartbeat]
    reading: Reading
    gaps: Gaps
    quarantined: int
    # The number of the newest action: pages ask again for what people did when it has grown.
    acted: int = 0

    @property
    def broker_ok(self) -> bool | None:
        """Whether the broker answered the monitor's last question; None if nobody has asked lately."""
        return broker_ok(self.heartbeats.get("broker"), self.now)

    @property
    def as_of(self) -> datetime:
        """When workers were last to be seen at all: a blind monitor makes no worker dead."""
        monitor = self.heartbeats.get("monitor")
        if heartbeat_state(monitor, self.now) != "online":
            return min(self.now, monitor.at) if monitor else self.now
        if self.reading.lag is not None and self.reading.lag > LAG_LIMIT:
            return self.now - timedelta(seconds=self.reading.lag)
        if self.broker_ok is False and self.reading.committed is not None:
            return min(self.now, self.reading.committed)
        return self.now

    @property
    def _broker_since(self) -> datetime | None:
        """When the broker was last of use, as far as is known: no later than it failed to answer."""
        broker = self.heartbeats.get("broker")
        moments = [self.reading.committed, broker.at if broker else None]
        return min((moment for moment in moments if moment is not None), default=None)

    def verdict(self, *, anything_seen: bool) -> Verdict:
        """The word of the system."""
        sight = Sight(
            anything_seen=anything_seen,
            monitor=self.heartbeats.get("monitor"),
            broker_ok=self.broker_ok,
            broker_since=self._broker_since,
            lag=self.reading.lag,
            last_gap=self.gaps.last_end,
            behind_since=told_behind_since(self.heartbeats.get("monitor")),
        )
        return verdict(sight, self.now)

    @property
    def is_blind(self) -> bool:
        """Without a monitor, a broker and a record up to date nothing is known of the present."""
        return self.verdict(anything_seen=True).word == "blind"

    def record(self) -> dict[str, Any]:
        """The `record` of a frame."""
        monitor = heartbeat_state(self.heartbeats.get("monitor"), self.now)
        return {
            "lag": self.reading.lag,
            "lost": self.gaps.lost,
            "gaps": self.gaps.count,
            "last_event": epoch(self.reading.last_event),
            "quarantined": self.quarantined,
            "monitor": "late" if monitor == "dead" else monitor,
        }

    def schedules(self) -> dict[str, Any]:
        """The `schedules` of a frame: how Beat is."""
        beat = self.heartbeats.get("beat")
        return {"state": heartbeat_state(beat, self.now), "seen": epoch(beat.at if beat else None)}


def read_trust(cluster_id: int, now: datetime) -> Trust:
    """Two statements over small tables."""
    heartbeats = {heartbeat.name: heartbeat for heartbeat in Heartbeat.objects.all()}
    return _trust(_read_sources(cluster_id, now), heartbeats, now)


def read_record(cluster_id: int, now: datetime) -> dict[str, Any]:
    """The `record` of a frame alone; one statement."""
    sources = _read_sources(cluster_id, now)
    heard = [(source.monitor_at, source.monitor_detail or "{}") for source in sources if source.monitor_at]
    monitor = [Heartbeat(name="monitor", at=at, detail=detail) for at, detail in heard[:1]]
    return _trust(sources, {heartbeat.name: heartbeat for heartbeat in monitor}, now).record()


def fresh(at: datetime, now: datetime) -> bool:
    """Whether a sample still tells how things are."""
    return seconds_since(at, now) <= SAMPLE_STALE_AFTER


def broker_ok(heartbeat: Heartbeat | None, now: datetime) -> bool | None:
    """Whether the broker answered when last asked; None if that was not lately."""
    if heartbeat is None or not fresh(heartbeat.at, now):
        return None
    detail = detail_of(heartbeat)
    return bool(detail["ok"]) if "ok" in detail else None


def detail_of(heartbeat: Heartbeat | None) -> dict[str, Any]:
    """What a process said with its sign of life; empty if it said nothing."""
    detail = orjson.loads(heartbeat.detail) if heartbeat else None
    return detail if isinstance(detail, dict) else {}


def told_behind_since(monitor: Heartbeat | None) -> datetime | None:
    """Since when the monitor says that it is behind."""
    since = detail_of(monitor).get("behind_since")
    return datetime.fromtimestamp(since, UTC) if isinstance(since, int | float) else None


def _lag_told(heartbeat: Heartbeat | None, now: datetime) -> float | None:
    """How old the first event is that the monitor has not read, as it said lately: it may be stuck."""
    if heartbeat is None or not fresh(heartbeat.at, now):
        return None
    lag = detail_of(heartbeat).get("lag")
    return float(lag) if isinstance(lag, int | float) else None


def _trust(sources: Sequence[_Source], heartbeats: Mapping[str, Heartbeat], now: datetime) -> Trust:
    gaps, odd, acted = Gaps(0, 0, None), 0, 0
    for source in sources[:1]:
        gaps = Gaps(source.gaps or 0, source.lost or 0, source.last_gap)
        odd, acted = source.quarantined or 0, source.acted or 0
    return Trust(
        now=now,
        heartbeats=heartbeats,
        reading=_reading(sources, now, _lag_told(heartbeats.get("monitor"), now)),
        gaps=gaps,
        quarantined=odd,
        acted=acted,
    )


def _reading(sources: Sequence[_Source], now: datetime, lag_told: float | None) -> Reading:
    lags = [
        source.lag
        for source in sources
        if source.lag is not None and source.committed_at and fresh(source.committed_at, now)
    ]
    return Reading(
        last_event=_latest(source.last_event_at for source in sources),
        committed=_latest(source.committed_at for source in sources),
        lag=max([*lags, *([] if lag_told is None else [lag_told])], default=None),
    )


def _latest(moments: Iterable[datetime | None]) -> datetime | None:
    return max((moment for moment in moments if moment is not None), default=None)


def _read_sources(cluster_id: int, now: datetime) -> list[_Source]:
    """How far each source was read, beside it what there is once; one statement."""
    lately = Gap.objects.filter(cluster=OuterRef("pk"), ended_at__gte=now - GAPS_OF)
    odd = Quarantine.objects.filter(cluster=OuterRef("pk"))
    monitor = Heartbeat.objects.filter(name="monitor")
    acted = Action.objects.filter(cluster=OuterRef("pk")).order_by("-pk").values("pk")[:1]
    rows = Cluster.objects.filter(pk=cluster_id).values_list(
        "position__last_event_at",
        "position__committed_at",
        "position__lag",
        Subquery(monitor.values("at")),
        Subquery(monitor.values("detail")),
        _over_all(lately, Count("pk")),
        _over_all(lately, Sum("lost")),
        _over_all(lately, Max("ended_at")),
        _over_all(odd, Sum("count")),
        Subquery(acted),
    )
    return [_Source(*row) for row in rows]


def _over_all(rows: QuerySet[Any], figure: Aggregate) -> Subquery:
    """A figure of all these rows of a cluster."""
    return Subquery(rows.order_by().values("cluster").annotate(figure=figure).values("figure"))
