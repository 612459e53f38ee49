"""The only hand-written SQL: the record's writes, for each database.

One process writes, fenced by the position (`move_position`), so the rows it
holds in memory are the truth and each upsert carries whole rows.
"""

from __future__ import annotations

from collections.abc import Sequence

from django.db import connection

from jobs.store import sqlite
from jobs.store.tables import Row, moment

_WRITERS = {"sqlite": sqlite.write}


def write(kind: str, rows: Sequence[Row]) -> None:
    """Write rows of one kind: a key of `tables.TABLES`."""
    if rows:
        _WRITERS[connection.vendor](kind, rows)


def settle(job_ids: Sequence[int]) -> None:
    """These jobs have succeeded: they stand nowhere any more."""
    if job_ids:
        with connection.cursor() as cursor:
            cursor.executemany(
                "DELETE FROM nightdesk_jobs_standing WHERE job_id = %s", [(job_id,) for job_id in job_ids]
            )


def move_position(
    position_id: int, before: str, after: str, event_at: float | None, now: float, lag: float
) -> bool:
    """Move the position by compare-and-set; False if somebody else has moved it."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE nightdesk_jobs_position SET last_id = %s, committed_at = %s, lag = %s, "
            "last_event_at = COALESCE(%s, last_event_at) WHERE id = %s AND last_id = %s",
            [after, moment(now), lag, moment(event_at), position_id, before],
        )
        moved: int = cursor.rowcount
    return moved == 1
