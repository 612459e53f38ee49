"""Counters of what happens seldom, each in the transaction of what it counts.

What is counted here is shown by `jobs.metrics.ours`, under the name that it
has there. A name that nobody has counted yet is shown as absent, or as 0
where it is counted by this release: see `ours.TOTALS`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from django.db.models import F

from jobs.metrics.counting import OTHER
from jobs.models import Cluster, Total

LOST, GAPS, QUARANTINED, TICKS = "lost", "gaps", "quarantined", "ticks"
MOST_LABELS = 50
LONGEST_LABEL = 64


def add(name: str, counts: Mapping[str, int], cluster_id: int = Cluster.DEFAULT_ID) -> None:
    """So many more of each label; one or two statements a label, in the order of labels, as all who lock."""
    for label, count in sorted(counts.items()):
        if count > 0:
            _add(name, label[:LONGEST_LABEL], count, cluster_id)


def _add(name: str, label: str, count: int, cluster_id: int) -> None:
    of_name = Total.objects.filter(cluster=cluster_id, name=name)
    if of_name.filter(label=label).update(count=F("count") + count):
        return
    fitting = label if of_name.count() < MOST_LABELS else OTHER
    born = {"born_at": datetime.now(UTC)}
    of_name.get_or_create(cluster_id=cluster_id, name=name, label=fitting, defaults=born)
    of_name.filter(label=fitting).update(count=F("count") + count)
