"""The record's writes, for SQLite: plain multi-row upserts."""

from __future__ import annotations

from collections.abc import Sequence

from django.db import connection

from jobs.store.tables import TABLES, Row, Table


def upsert(table: Table) -> str:
    """An upsert of whole rows."""
    names = (*table.key, *table.columns)
    updates = ", ".join(_change(table, column) for column in table.columns)
    return (
        f"INSERT INTO {table.name} ({', '.join(names)}) VALUES ({', '.join(['%s'] * len(names))}) "  # noqa: S608 names of our own
        f"ON CONFLICT ({', '.join(table.key)}) DO UPDATE SET {updates}"
    )


def _change(table: Table, column: str) -> str:
    if column in table.kept:
        return f"{column} = COALESCE(excluded.{column}, {table.name}.{column})"
    return f"{column} = excluded.{column}"


_UPSERTS = {kind: upsert(table) for kind, table in TABLES.items()}


def write(kind: str, rows: Sequence[Row]) -> None:
    """Write whole rows of one kind."""
    with connection.cursor() as cursor:
        cursor.executemany(_UPSERTS[kind], rows)
