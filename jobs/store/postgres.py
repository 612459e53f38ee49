"""The record's writes, for PostgreSQL: COPY into a staging table, then one upsert from there.

Few rows come with the upsert itself: three statements for each table are more than they are worth.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any

from django.db import connection, transaction

from jobs.store.tables import TABLES, Row, Table


def stage(table: Table) -> str:
    """A table of this session alone, empty, with the types of `table` and none of its rules.

    A commit empties it at once; the DELETE is for a second write in one transaction.
    """
    return (
        f"CREATE TEMP TABLE IF NOT EXISTS {_staging(table)} ON COMMIT DELETE ROWS "  # noqa: S608 names of our own
        f"AS SELECT {_names(table)} FROM {table.name} WITH NO DATA; DELETE FROM {_staging(table)}"
    )


def copy(table: Table) -> str:
    return f"COPY {_staging(table)} ({_names(table)}) FROM STDIN"


def merge(table: Table) -> str:
    """An upsert of whole rows. In the order of the key, so that neighbours share a page."""
    names, key = _names(table), ", ".join(table.key)
    return (
        f"INSERT INTO {table.name} ({names}) SELECT {names} FROM {_staging(table)} ORDER BY {key} "  # noqa: S608 names of our own
        f"ON CONFLICT ({key}) DO UPDATE SET {table.changes}"
    )


def upsert(table: Table, rows: int) -> str:
    """An upsert of so many whole rows, which come with the statement."""
    names, marks = _names(table), ", ".join(["%s"] * len((*table.key, *table.columns)))
    return (
        f"INSERT INTO {table.name} ({names}) VALUES {', '.join([f'({marks})'] * rows)} "  # noqa: S608 names of our own
        f"ON CONFLICT ({', '.join(table.key)}) DO UPDATE SET {table.changes}"
    )


def _staging(table: Table) -> str:
    """Two kinds of rows of one table differ in how many columns they tell."""
    return f"pg_temp.staging_{table.name}_{len(table.columns)}"


def _names(table: Table) -> str:
    return ", ".join((*table.key, *table.columns))


# So many rows cost less in a statement than in a staging table.
FEW_ROWS = 20
KEY_TYPES = {"task_id": "text", "job_id": "bigint"}
_STATEMENTS = {kind: (stage(table), copy(table), merge(table)) for kind, table in TABLES.items()}


def write(kind: str, rows: Sequence[Row]) -> None:
    """Write whole rows of one kind, all or none."""
    (_write_few if len(rows) <= FEW_ROWS else _write_many)(kind, rows)


def _write_few(kind: str, rows: Sequence[Row]) -> None:
    table = TABLES[kind]
    # In the order of the key, as all who lock rows.
    ordered = sorted(rows, key=lambda row: tuple(row[: len(table.key)]))
    with connection.cursor() as cursor:
        cursor.execute(upsert(table, len(rows)), list(chain.from_iterable(ordered)))


def _write_many(kind: str, rows: Sequence[Row]) -> None:
    stage, copy, merge = _STATEMENTS[kind]
    # In the caller's transaction or in one of its own: a commit in between would empty the staging table.
    with transaction.atomic(savepoint=False), connection.cursor() as cursor:
        cursor.execute(stage)
        with connection.wrap_database_errors, cursor.copy(copy) as staging:
            for row in rows:
                staging.write_row(row)
        cursor.execute(merge)


def settle(job_ids: Sequence[int]) -> None:
    """Delete these jobs from Standing."""
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM nightdesk_jobs_standing WHERE job_id = ANY(%s)", [list(job_ids)])


def select(table: str, names: str, scope: str, key: str) -> str:
    """The rows of many keys, which come as one parameter: by the index, one by one.

    Left to choose, PostgreSQL reads a table of which it has no statistics yet from end to end.
    """
    return (
        f"SELECT found.* FROM unnest(%s::{KEY_TYPES[key]}[]) AS asked (value) CROSS JOIN LATERAL "  # noqa: S608
        f"(SELECT {names} FROM {table} WHERE {scope}{key} = asked.value OFFSET 0) AS found"
    )


def listed(values: Sequence[Any]) -> list[Any]:
    return list(values)


def microseconds(column: str) -> str:
    """A time as a number."""
    return f"(EXTRACT(EPOCH FROM {column}) * 1000000)::bigint"
