"""What is counted beside the navigation, on every page and in every frame that moves it: one statement."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db.models import IntegerField, QuerySet, Subquery

from jobs import dead_letters
from jobs.errors import reading
from jobs.models import Cluster
from jobs.scopes import Scope


class Counted(Subquery):
    """How many rows a query has, which is to be limited."""

    template = "(SELECT COUNT(*) FROM (%(subquery)s) AS counted)"
    output_field = IntegerField()


def counts(scope: Scope, now: datetime, cluster_id: int = Cluster.DEFAULT_ID) -> dict[str, int]:
    """Dead letters that wait, and errors that are new or regressed, as far as a scope shows them.

    Counting stops at the limits of each.
    """
    rows = {
        "dead_letters": _limited(dead_letters.waiting(scope, cluster_id), dead_letters.COUNT_LIMIT),
        "new_errors": _limited(reading.alarming(scope, now, cluster_id), reading.COUNT_LIMIT),
    }
    told = Cluster.objects.filter(pk=cluster_id).values_list(*rows.values()).first()
    return dict(zip(rows, told or (0, 0), strict=True))


def _limited(rows: QuerySet[Any], most: int) -> Counted:
    return Counted(rows.order_by().values("pk")[:most])
