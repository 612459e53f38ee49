"""Many messages for the outbox: Django's own way to insert them costs as much as all else about enqueuing."""

from __future__ import annotations

from collections.abc import Sequence

from django.db import connection

from jobs.store.tables import Row

COLUMNS = (
    "cluster_id", "task_id", "task", "queue", "priority", "body", "headers", "properties",
    "due_at", "created_at",
)  # fmt: skip
# Columns that begin alike in each row.
NEW = {"tries": "0", "fault": "''", "told": "%s"}


def insert_outgoing(rows: Sequence[Row]) -> None:
    """Insert rows of COLUMNS, in the transaction at hand; times as `tables.moment` writes them."""
    names = ", ".join((*COLUMNS, *NEW))
    values = ", ".join((*["%s"] * len(COLUMNS), *NEW.values()))
    with connection.cursor() as cursor:
        cursor.executemany(
            f"INSERT INTO nightdesk_jobs_outgoing ({names}) VALUES ({values})",  # noqa: S608 names of our own
            [(*row, False) for row in rows],
        )
