"""Task results: one statement a state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from django.db import connections, models, transaction

FINISHED = ("SUCCESS", "FAILURE", "REVOKED")
OUTCOMES = ("SUCCESS", "FAILURE")
KEY = "task_id"
# What the first write of a job settles, and what a later one without a value leaves alone.
KEPT = ("date_created",)
FIRST_KNOWN = ("date_started",)
# In the statement itself, so that it holds for this statement's own transaction alone.
WITHOUT_WAITING = "set_config('synchronous_commit', 'off', true) AS asked"
# A claim of `jobs.store.claims` that this outcome settles.
SETTLED = "UPDATE {table} SET done = true WHERE task_id = %s AND token = %s AND NOT done"


@dataclass(frozen=True)
class Mine:
    """The claim under which a job runs here: only who still holds it may say how the job ended."""

    model: type[models.Model]
    token: str

    @property
    def settled(self) -> str:
        """The statement that settles it."""
        return SETTLED.format(table=self.model._meta.db_table)


def write_result(
    model: type[models.Model],
    values: Mapping[str, Any],
    using: str,
    durable: bool,
    claim: Mine | None = None,
) -> bool:
    """Insert or update the row of one job in django-celery-results' table; False if the `claim` was lost.

    `values` names every field but the primary key. A finished job never goes
    back to unfinished; of two outcomes the later one stands. The claim is
    settled in the same transaction. Not `durable`: PostgreSQL need not wait for
    its disk, unless a transaction is open, which is somebody else's.
    """
    connection = connections[using]
    waits = durable or connection.vendor != "postgresql" or connection.in_atomic_block
    fields = [field for field in model._meta.concrete_fields if not field.primary_key]
    parameters = [field.get_db_prep_save(values[field.attname], connection) for field in fields]
    if claim is None:
        with connection.cursor() as cursor:
            cursor.execute(_upsert(model, using, waits), parameters)
        return True
    held = [values[KEY], claim.token]
    if connection.vendor == "postgresql":
        return _write_with_claim(_upsert(model, using, waits, claim.settled), [*held, *parameters], using)
    with transaction.atomic(using), connection.cursor() as cursor:
        cursor.execute(claim.settled, held)
        if cursor.rowcount:
            cursor.execute(_upsert(model, using, waits), parameters)
        return bool(cursor.rowcount)


def _write_with_claim(statement: str, parameters: list[Any], using: str) -> bool:
    """Both in one statement; the row of a finished job may stay as it is, so the claim alone tells."""
    with connections[using].cursor() as cursor:
        cursor.execute(statement, parameters)
        return cursor.fetchone() is not None


def count_down(model: type[models.Model], group_id: str, using: str) -> str | None:
    """One more of a chord's jobs has an outcome, or has it again; the header once enough have, else None.

    `model` is django-celery-results' ChordCounter. None, too, where the chord is over.
    """
    connection = connections[using]
    table = connection.ops.quote_name(model._meta.db_table)
    with connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE {table} SET count = CASE WHEN count > 0 THEN count - 1 ELSE 0 END "  # noqa: S608 quoted
            "WHERE group_id = %s RETURNING CASE WHEN count = 0 THEN sub_tasks END",
            [group_id],
        )
        row = cursor.fetchone()
    return row[0] if row else None


@cache
def _upsert(model: type[models.Model], using: str, durable: bool, settled: str = "") -> str:
    quote = connections[using].ops.quote_name
    table = quote(model._meta.db_table)
    columns = [str(field.column) for field in model._meta.concrete_fields if not field.primary_key]
    changes = ", ".join(_change(table, quote(name), name) for name in columns if name not in (KEY, *KEPT))
    status = quote("status")
    values = ", ".join(["%s"] * len(columns))
    froms = [*(["mine"] if settled else []), *([] if durable else [WITHOUT_WAITING])]
    source = f"SELECT {values} FROM {', '.join(froms)}" if froms else f"VALUES ({values})"  # noqa: S608
    upsert = (
        f"INSERT INTO {table} ({', '.join(map(quote, columns))}) {source} "
        f"ON CONFLICT ({quote(KEY)}) DO UPDATE SET {changes} "
        f"WHERE {table}.{status} NOT IN {FINISHED} OR excluded.{status} IN {OUTCOMES}"
    )
    if not settled:
        return upsert
    return f"WITH mine AS ({settled} RETURNING task_id), written AS ({upsert}) SELECT task_id FROM mine"  # noqa: S608


def _change(table: str, column: str, name: str) -> str:
    if name in FIRST_KNOWN:
        return f"{column} = COALESCE(excluded.{column}, {table}.{column})"
    return f"{column} = excluded.{column}"
