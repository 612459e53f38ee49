"""Where the jobs of a moment begin, in the order of their numbers: these grow with time; no index has it."""

from __future__ import annotations

from datetime import datetime

from django.db import connection

# Some clocks that are wrong, or reports that came late, mislead nobody: so many neighbours vote.
NEIGHBOURS = 15
WIDEST = 2**61

# When the record heard of a job, by two clocks. Whole runs of jobs are told late, or wait long for their
# receipt: by the one they seem too old, and a place is rather too far to the right; by the other too young.
NOT_AFTER = "CASE WHEN published_at < seen_at THEN published_at ELSE seen_at END"
NOT_BEFORE = "COALESCE(received_at, seen_at)"

# From the left as many steps as are still among older jobs, each half as wide as the one before. A look costs
# one read of the index (cluster, id) at the place, whatever there is beyond it.
FIND = """
    WITH RECURSIVE search(place, step) AS (
        SELECT CAST(0 AS bigint), CAST({widest} AS bigint)
        UNION ALL
        SELECT place + CASE WHEN (
            SELECT SUM(CASE WHEN heard_at < %s THEN 1 ELSE -1 END) FROM (
                SELECT {heard_at} AS heard_at
                FROM nightdesk_jobs_job WHERE cluster_id = %s AND id >= place + step
                ORDER BY id LIMIT {neighbours}
            ) AS neighbours
        ) > 0 THEN step ELSE 0 END, step / 2
        FROM search WHERE step > 0
    )
    SELECT MAX(place) FROM search
"""

NTH_BEFORE = (
    "SELECT id FROM nightdesk_jobs_job WHERE cluster_id = %s AND id <= %s ORDER BY id DESC LIMIT 1 OFFSET %s"
)
NTH_AFTER = (
    "SELECT id FROM nightdesk_jobs_job WHERE cluster_id = %s AND id > %s ORDER BY id LIMIT 1 OFFSET %s"
)


def first_since(cluster_id: int, moment: datetime, spare: int) -> int:
    """The number before which jobs are older than `moment`, though so many stand where others came late.

    A job stands where its first event came, so one whose report was late stands among younger ones.
    """
    place = _place(cluster_id, moment, NOT_BEFORE)
    return _nth(NTH_BEFORE, cluster_id, place, spare) or 0


def first_after(cluster_id: int, moment: datetime, spare: int) -> int | None:
    """The number from which on jobs are not older than `moment`, likewise; None where there is none."""
    place = _place(cluster_id, moment, NOT_AFTER)
    return _nth(NTH_AFTER, cluster_id, place, spare)


def _nth(question: str, cluster_id: int, place: int, spare: int) -> int | None:
    """Numbers have gaps where jobs are forgotten, so that jobs are counted, in the index."""
    with connection.cursor() as cursor:
        cursor.execute(question, [cluster_id, place, spare])
        found = cursor.fetchone()
    return int(found[0]) if found else None


def _place(cluster_id: int, moment: datetime, heard_at: str) -> int:
    """The last number at which most neighbours are older, or 0; one statement, flat at any size."""
    find = FIND.format(heard_at=heard_at, widest=WIDEST, neighbours=NEIGHBOURS)
    with connection.cursor() as cursor:
        cursor.execute(find, [connection.ops.adapt_datetimefield_value(moment), cluster_id])
        place: int = cursor.fetchone()[0]
    return place
