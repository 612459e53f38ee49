"""The record's writes, for SQLite: upserts of many rows a statement."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from functools import cache
from typing import Any

import orjson
from django.db import connection

from jobs.store import sqlite_child
from jobs.store.sqlite_child import Upsert
from jobs.store.tables import TABLES, Row


def write(kind: str, rows: Sequence[Row]) -> None:
    """Write whole rows of one kind, inside a transaction."""
    with connection.wrap_database_errors:
        sqlite_child.write_rows(_driver(), upsert(kind), rows)


def settle(job_ids: Sequence[int]) -> None:
    """These jobs have succeeded: they stand nowhere any more."""
    with connection.wrap_database_errors:
        sqlite_child.settle(_driver(), job_ids)


def _driver() -> sqlite3.Connection:
    """Django's cursor would rewrite the placeholders of a whole statement each time."""
    connection.ensure_connection()
    driver: sqlite3.Connection = connection.connection
    return driver


def select(table: str, names: str, scope: str, key: str) -> str:
    """The rows of many keys, which come as one parameter."""
    return f"SELECT {names} FROM {table} WHERE {scope}{key} IN (SELECT value FROM json_each(%s))"  # noqa: S608


def listed(values: Sequence[Any]) -> str:
    return orjson.dumps(list(values)).decode()


def microseconds(column: str) -> str:
    """A time as a number: text of 19 characters, and of six more where there are any."""
    return f"strftime('%%s', substr({column}, 1, 19)) * 1000000 + CAST(substr({column}, 21) AS INTEGER)"


@cache
def upsert(kind: str) -> Upsert:
    """An upsert of whole rows, in its parts."""
    table = TABLES[kind]
    names = (*table.key, *table.columns)
    return (
        f"INSERT INTO {table.name} ({', '.join(names)})",
        f"({', '.join('?' * len(names))})",
        f"ON CONFLICT ({', '.join(table.key)}) DO UPDATE SET {table.changes}",
    )
