"""Messages for the outbox: Django's own way to insert them costs as much as all else about enqueuing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from django.db import connection

from jobs.store.tables import Row, moment

if TYPE_CHECKING:
    from jobs.models import Outgoing

COLUMNS = (
    "cluster_id", "task_id", "task", "queue", "priority", "body", "headers", "properties",
    "due_at", "created_at",
)  # fmt: skip
# Columns that begin alike in each row.
NEW: dict[str, Any] = {"tries": 0, "fault": "", "told": False}
NAMES = ", ".join((*COLUMNS, *NEW))
MARKS = ", ".join(["%s"] * (len(COLUMNS) + len(NEW)))
INSERT = f"INSERT INTO nightdesk_jobs_outgoing ({NAMES}) VALUES ({MARKS})"  # noqa: S608 names of our own
ONE_NAMES = ", ".join((*COLUMNS, "claimed_until", "action_id", *NEW))
ONE = f"INSERT INTO nightdesk_jobs_outgoing ({ONE_NAMES}) VALUES (%s, %s, {MARKS})"  # noqa: S608 names of our own
COPY = f"COPY nightdesk_jobs_outgoing ({NAMES}) FROM STDIN"


def insert_outgoing(rows: Sequence[Row]) -> None:
    """Insert rows of COLUMNS, in the transaction at hand; times as `tables.moment` writes them."""
    whole = [(*row, *NEW.values()) for row in rows]
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            _copy(cursor, whole)
        else:
            cursor.executemany(INSERT, whole)


def insert_one(row: Outgoing) -> None:
    """Insert a new row, in the transaction at hand, and give it its number."""
    times = (row.due_at, row.created_at, row.claimed_until)
    texts = (row.task_id, row.task, row.queue, row.priority, row.body, row.headers, row.properties)
    moments = [at and moment(at.timestamp()) for at in times]
    new = {**NEW, "told": row.told}
    with connection.cursor() as cursor:
        cursor.execute(
            ONE if connection.vendor == "sqlite" else f"{ONE} RETURNING id",
            (row.cluster_id, *texts, *moments, row.action_id, *new.values()),
        )
        row.pk = cursor.lastrowid if connection.vendor == "sqlite" else cursor.fetchone()[0]
    row._state.adding, row._state.db = False, connection.alias


def _copy(cursor: Any, rows: Sequence[Row]) -> None:
    with connection.wrap_database_errors, cursor.copy(COPY) as copy:
        for row in rows:
            copy.write_row(row)
