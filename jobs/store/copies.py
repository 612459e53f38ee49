"""Copies of recorded jobs, moved in time by whole hours: how a record of any size is fabricated."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from django.db import connection, models, transaction

from jobs.models import Attempt, Bucket, Job, Payload, Standing

HOUR = 3600
# A row of each of these belongs to a job: by "id" or "job_id".
OF_A_JOB: tuple[type[models.Model], ...] = (Job, Attempt, Payload, Standing)


@dataclass(frozen=True)
class Span:
    """Jobs recorded for one hour: their ids, first and last, and the hour since the epoch."""

    first: int
    last: int
    hour: int

    @property
    def count(self) -> int:
        return self.last - self.first + 1


def copy_span(span: Span, first: int, hour: int) -> Span:
    """The jobs of `span` once more, numbered from `first` on, as if `hour` had been theirs.

    Copies their attempts, payloads and standing too, and the buckets of the
    minutes and the hour, which must be empty. Task ids differ from all others.
    """
    shift = _Shift(ids=first - span.first, hours=hour - span.hour)
    with transaction.atomic(), connection.cursor() as cursor:
        for model in OF_A_JOB:
            key = "id" if model is Job else "job_id"
            cursor.execute(_insert(model, shift, f"{key} BETWEEN {span.first} AND {span.last}"))
        for tier in (Bucket.MINUTE, Bucket.HOUR):
            width = HOUR // tier
            first_start, end = span.hour * width, (span.hour + 1) * width
            where = f"tier = {tier} AND start >= {first_start} AND start < {end}"
            cursor.execute(_insert(Bucket, shift, where))
    return Span(first, first + span.count - 1, hour)


@dataclass(frozen=True)
class _Shift:
    ids: int
    hours: int


def _insert(model: type[models.Model], shift: _Shift, where: str) -> str:
    columns = [f for f in model._meta.concrete_fields if not _numbers_itself(model, f)]
    names = ", ".join(_quoted(str(f.column)) for f in columns)
    values = ", ".join(_value(model, f, shift) for f in columns)
    table = model._meta.db_table
    return f"INSERT INTO {table} ({names}) SELECT {values} FROM {table} WHERE {where}"  # noqa: S608 names of our own


def _numbers_itself(model: type[models.Model], field: models.Field[object, object]) -> bool:
    return model is not Job and isinstance(field, models.AutoField | models.BigAutoField)


def _value(model: type[models.Model], field: models.Field[object, object], shift: _Shift) -> str:
    column = _quoted(str(field.column))
    if isinstance(field, models.DateTimeField):
        return _later(column, shift.hours)
    if (model is Job and field.primary_key) or field.column == "job_id":
        return f"{column} + {shift.ids}"
    if field.column == "task_id":
        return _task_id(shift)
    if field.column == "root_id":
        return f"CASE WHEN root_id = task_id THEN {_task_id(shift)} ELSE root_id END"
    if field.column == "delivery":
        return f"CASE WHEN delivery = 0 THEN 0 ELSE delivery + {shift.hours * HOUR * 1_000_000} END"
    if field.column == "ended_minute":
        return f"ended_minute + {shift.hours * 60}"
    if field.column == "start":
        return f"start + {shift.hours * HOUR} / tier"
    return column


def _quoted(column: str) -> str:
    return connection.ops.quote_name(column)


def _later(column: str, hours: int) -> str:
    """A time moved by whole hours, with its microseconds."""
    if connection.vendor == "postgresql":
        return f"{column} + INTERVAL '{hours} hours'"
    # As Django stores times in SQLite: text, of which the hour ends at the 13th character.
    return f"strftime('%Y-%m-%d %H', substr({column}, 1, 19), '{hours:+d} hours') || substr({column}, 14)"


def _task_id(shift: _Shift) -> str:
    """The task id with other digits before its first dash: as random as the id times an odd number is."""
    number = f"((id + {shift.ids}) * 2654435761) & 4294967295"
    if connection.vendor == "postgresql":
        return f"lpad(to_hex({number}), 8, '0') || substr(task_id, 9)"
    return f"printf('%08x', {number}) || substr(task_id, 9)"


@contextmanager
def in_bulk() -> Iterator[None]:
    """For rows that refer to each other as they should, and that may be lost with the machine."""
    _prepare()
    with connection.constraint_checks_disabled():
        yield
    _settle()


def _prepare() -> None:
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SET synchronous_commit = off")
        else:
            cursor.execute("PRAGMA synchronous = OFF")
            cursor.execute("PRAGMA cache_size = -1000000")


def _settle() -> None:
    """Bring the database to rest, as if the rows had come one by one."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("VACUUM (ANALYZE)")
        else:
            cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
