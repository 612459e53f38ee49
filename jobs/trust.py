"""Whether the record can be trusted now: what was last heard of the processes that make it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

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
    losses, positions = _read_cluster(cluster_id, now)
    count, lost, last, quarantined, acted = losses
    return Trust(
        now=now,
        heartbeats=heartbeats,
        reading=_reading(positions, now, _lag_told(heartbeats.get("monitor"), now)),
        gaps=Gaps(count or 0, lost or 0, last),
        quarantined=quarantined or 0,
        acted=acted or 0,
    )


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


# When its last event was, when it was committed, and the lag, of each source.
Positions = list[tuple[datetime | None, datetime | None, float | None]]


def _reading(positions: Positions, now: datetime, lag_told: float | None) -> Reading:
    lags = [lag for _, at, lag in positions if lag is not None and at and fresh(at, now)]
    return Reading(
        last_event=_latest(last for last, _, _ in positions),
        committed=_latest(at for _, at, _ in positions),
        lag=max([*lags, *([] if lag_told is None else [lag_told])], default=None),
    )


def _latest(moments: Iterable[datetime | None]) -> datetime | None:
    return max((moment for moment in moments if moment is not None), default=None)


def _read_cluster(cluster_id: int, now: datetime) -> tuple[tuple[Any, ...], Positions]:
    """The gaps of late, how many events are in quarantine, and the newest action; and how far each source
    is read. One statement, of a row for each source."""
    lately = Gap.objects.filter(cluster=OuterRef("pk"), ended_at__gte=now - GAPS_OF)
    odd = Quarantine.objects.filter(cluster=OuterRef("pk"))
    acted = Action.objects.filter(cluster=OuterRef("pk")).order_by("-pk").values("pk")[:1]
    rows = Cluster.objects.filter(pk=cluster_id).values_list(
        _over_all(lately, Count("pk")),
        _over_all(lately, Sum("lost")),
        _over_all(lately, Max("ended_at")),
        _over_all(odd, Sum("count")),
        Subquery(acted),
        "position__last_event_at",
        "position__committed_at",
        "position__lag",
    )
    found = list(rows)
    losses = found[0][:5] if found else (None,) * 5
    return losses, [row[5:] for row in found]


def _over_all(rows: QuerySet[Any], figure: Aggregate) -> Subquery:
    """A figure of all these rows of a cluster."""
    return Subquery(rows.order_by().values("cluster").annotate(figure=figure).values("figure"))
