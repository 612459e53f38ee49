"""The record's writes, for SQLite: upserts of many rows a statement.

A statement of a hundred rows costs half of a hundred statements, and Python
runs other threads all the while that SQLite works on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import chain
from typing import Any

import orjson
from django.db import connection

from jobs.store.tables import TABLES, Row

STATEMENT_ROWS = 100


def write(kind: str, rows: Sequence[Row]) -> None:
    """Write whole rows of one kind, inside a transaction."""
    whole = len(rows) - len(rows) % STATEMENT_ROWS
    for start in range(0, whole, STATEMENT_ROWS):
        _execute(
            upsert(kind, STATEMENT_ROWS), list(chain.from_iterable(rows[start : start + STATEMENT_ROWS]))
        )
    if whole < len(rows):
        with connection.cursor() as cursor:
            cursor.executemany(upsert(kind, 1).replace("?", "%s"), rows[whole:])


def settle(job_ids: Sequence[int]) -> None:
    """These jobs have succeeded: they stand nowhere any more."""
    with connection.cursor() as cursor:
        cursor.executemany(
            "DELETE FROM nightdesk_jobs_standing WHERE job_id = %s", [(job_id,) for job_id in job_ids]
        )


def select(table: str, names: str, scope: str, key: str) -> str:
    """The rows of many keys, which come as one parameter."""
    return f"SELECT {names} FROM {table} WHERE {scope}{key} IN (SELECT value FROM json_each(%s))"  # noqa: S608


def listed(values: Sequence[Any]) -> str:
    return orjson.dumps(list(values)).decode()


def microseconds(column: str) -> str:
    """A time as a number: text of 19 characters, and of six more where there are any."""
    return f"strftime('%%s', substr({column}, 1, 19)) * 1000000 + CAST(substr({column}, 21) AS INTEGER)"


@cache
def upsert(kind: str, rows: int) -> str:
    """An upsert of so many whole rows."""
    table = TABLES[kind]
    names = (*table.key, *table.columns)
    row = f"({', '.join('?' * len(names))})"
    return (
        f"INSERT INTO {table.name} ({', '.join(names)}) VALUES {', '.join([row] * rows)} "  # noqa: S608 names of our own
        f"ON CONFLICT ({', '.join(table.key)}) DO UPDATE SET {table.changes}"
    )


def _execute(sql: str, parameters: Sequence[Any]) -> None:
    """Django's cursor would rewrite the placeholders of the whole statement each time."""
    connection.ensure_connection()
    with connection.wrap_database_errors:
        connection.connection.execute(sql, parameters)
