"""Task results: one statement a state."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from django.db import connections, models

FINISHED = ("SUCCESS", "FAILURE", "REVOKED")
OUTCOMES = ("SUCCESS", "FAILURE")
KEY = "task_id"
# What the first write of a job settles, and what a later one without a value leaves alone.
KEPT = ("date_created",)
FIRST_KNOWN = ("date_started",)


def write_result(model: type[models.Model], values: Mapping[str, Any], using: str) -> None:
    """Insert or update the row of one job in django-celery-results' table.

    `values` names every field but the primary key. A finished job never goes
    back to unfinished; of two outcomes the later one stands.
    """
    connection = connections[using]
    fields = [field for field in model._meta.concrete_fields if not field.primary_key]
    parameters = [field.get_db_prep_save(values[field.attname], connection) for field in fields]
    with connection.cursor() as cursor:
        cursor.execute(_upsert(model, using), parameters)


@cache
def _upsert(model: type[models.Model], using: str) -> str:
    quote = connections[using].ops.quote_name
    table = quote(model._meta.db_table)
    columns = [str(field.column) for field in model._meta.concrete_fields if not field.primary_key]
    changes = ", ".join(_change(table, quote(name), name) for name in columns if name not in (KEY, *KEPT))
    status = quote("status")
    return (
        f"INSERT INTO {table} ({', '.join(map(quote, columns))}) "  # noqa: S608 names of the model, quoted
        f"VALUES ({', '.join(['%s'] * len(columns))}) "
        f"ON CONFLICT ({quote(KEY)}) DO UPDATE SET {changes} "
        f"WHERE {table}.{status} NOT IN {FINISHED} OR excluded.{status} IN {OUTCOMES}"
    )


def _change(table: str, column: str, name: str) -> str:
    if name in FIRST_KNOWN:
        return f"{column} = COALESCE(excluded.{column}, {table}.{column})"
    return f"{column} = excluded.{column}"
