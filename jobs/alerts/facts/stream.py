"""How the record itself stands."""

from __future__ import annotations

from datetime import timedelta

from jobs.alerts.shapes import StreamFacts
from jobs.models import Gap
from jobs.trust import Trust


def read_stream(cluster_id: int, trust: Trust, within: timedelta) -> StreamFacts:
    """One statement; gaps are those that ended within that time."""
    gaps = list(Gap.objects.filter(cluster=cluster_id, ended_at__gte=trust.now - within))
    lost = [gap.lost for gap in gaps]
    told = [count for count in lost if count is not None]
    return StreamFacts(
        lag=trust.reading.lag,
        gap_ended=max((gap.ended_at for gap in gaps), default=None),
        lost=sum(told) if len(told) == len(lost) else None,
        broker_ok=trust.broker_ok,
    )
