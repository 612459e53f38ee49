"""Where the jobs of a moment begin, in the order of their numbers: these grow with time; no index has it."""

from __future__ import annotations

from datetime import datetime

from django.db import connection

# A clock that is wrong, or a report that came late, misleads nobody: so many neighbours vote.
NEIGHBOURS = 15
WIDEST = 2**61

# From the left as many steps as are still among older jobs, each half as wide as the one before. A look costs
# one read of the index (cluster, id) at the place, whatever there is beyond it.
FIND = f"""
    WITH RECURSIVE search(place, step) AS (
        SELECT CAST(0 AS bigint), CAST({WIDEST} AS bigint)
        UNION ALL
        SELECT place + CASE WHEN (
            SELECT SUM(CASE WHEN heard_at < %s THEN 1 ELSE -1 END) FROM (
                SELECT CASE WHEN published_at < seen_at THEN published_at ELSE seen_at END AS heard_at
                FROM nightdesk_jobs_job WHERE cluster_id = %s AND id >= place + step
                ORDER BY id LIMIT {NEIGHBOURS}
            ) AS neighbours
        ) > 0 THEN step ELSE 0 END, step / 2
        FROM search WHERE step > 0
    )
    SELECT MAX(place) FROM search
"""  # noqa: S608 numbers of our own


def first_since(cluster_id: int, moment: datetime) -> int:
    """The number from which on jobs are mostly not older than `moment`; one statement, flat at any size.

    A job stands where its first event came, so one whose report was late stands among younger ones.
    """
    with connection.cursor() as cursor:
        cursor.execute(FIND, [connection.ops.adapt_datetimefield_value(moment), cluster_id])
        place: int = cursor.fetchone()[0]
    return place + 1
