"""The only hand-written SQL: the record's writes, for each database.

One process writes, fenced by the position (`move_position`), so the rows it
holds in memory are the truth and each upsert carries whole rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db import connection

from jobs.store import postgres, sqlite
from jobs.store.outgoing import insert_one, insert_outgoing
from jobs.store.tables import MOVE, TABLES, TIMES, Move, Row

__all__ = ["insert_one", "insert_outgoing", "move_position", "read", "settle", "write"]

_VENDORS = {"sqlite": sqlite, "postgresql": postgres}


def write(kind: str, rows: Sequence[Row]) -> None:
    """Write rows of one kind: a key of `tables.TABLES`."""
    if rows:
        _VENDORS[connection.vendor].write(kind, rows)


def settle(job_ids: Sequence[int]) -> None:
    """These jobs have succeeded: they stand nowhere any more."""
    if job_ids:
        _VENDORS[connection.vendor].settle(job_ids)


def read(
    kind: str, columns: Sequence[str], key: str, values: Sequence[Any], cluster_id: int | None = None
) -> list[tuple[Any, ...]]:
    """Rows of one kind whose `key` is one of `values`: one statement, however many they are.

    Times come as whole microseconds since the epoch.
    """
    vendor = _VENDORS[connection.vendor]
    names = ", ".join(vendor.microseconds(column) if column in TIMES else column for column in columns)
    scope = "" if cluster_id is None else f"cluster_id = {cluster_id} AND "
    with connection.cursor() as cursor:
        cursor.execute(vendor.select(TABLES[kind].name, names, scope, key), [vendor.listed(values)])
        return list(cursor.fetchall())


def move_position(move: Move) -> bool:
    """Move the position by compare-and-set; False if somebody else has moved it."""
    with connection.cursor() as cursor:
        cursor.execute(MOVE, move.values)
        moved: int = cursor.rowcount
    return moved == 1
