"""Payload cut into partitions by ranges of job ids: PostgreSQL only, and only once it is asked for.

`nightdesk_jobs_payload_first` is the table as it was, `…_from_<id>` are those
made ahead of the ids to come, and `…_rest` takes what no other covers, so that
a write always finds a place. An emptied partition is dropped.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from django.db import Error, OperationalError, connection, transaction
from django.db.models import Max
from psycopg.errors import LockNotAvailable

from jobs.models import Job

TABLE = "nightdesk_jobs_payload"
FIRST, REST = f"{TABLE}_first", f"{TABLE}_rest"
STORAGE = "fillfactor = 50"
UNBOUND = f"ALTER TABLE {TABLE} DROP CONSTRAINT IF EXISTS {FIRST}_only"
# So many partitions wait beyond the one that is being filled.
AHEAD = 2
# Nobody's write stands behind a lock of ours for longer than this.
LOCK_SECONDS = 0.1
LOCK_TRIES, LOCK_PAUSE = 60, 0.5
# While the table is checked, at this many bytes a second at least, no more than so many jobs come a second.
CHECKED_A_SECOND, JOBS_A_SECOND = 50_000_000, 20_000
_ADVISORY_LOCK = 0x6E69676874


class PartitioningRefused(Exception):
    """It can't be done, or not now. The message is one line for people."""


@dataclass(frozen=True)
class Partition:
    """The jobs with ids from `lower` to below `upper`; the first has no lower bound."""

    name: str
    lower: int | None
    upper: int


def wanted(present: Sequence[Partition], last_id: int, width: int, in_rest: int) -> list[Partition]:
    """The partitions to make, so that AHEAD of them lie beyond the job `last_id`.

    `in_rest` is the highest id that has gone into the rest: a range that holds it can't be cut out of there.
    """
    lower = max([partition.upper for partition in present] + [_next_multiple(in_rest, width)])
    made = []
    while lower <= last_id + AHEAD * width:
        made.append(Partition(f"{TABLE}_from_{lower}", lower, lower + width))
        lower += width
    return made


def _next_multiple(id: int, width: int) -> int:
    return (id // width + 1) * width


def end_of_first(last_id: int, width: int, size: int) -> int:
    """Below which id the table as it is becomes the first partition: above all that come while it is checked.

    `size` is that of the table in bytes.
    """
    coming = size * JOBS_A_SECOND // CHECKED_A_SECOND
    return _next_multiple(last_id + max(width, coming), width)


def partition(width: int) -> list[Partition]:
    """Cut Payload into partitions of `width` job ids from now on; all that there are then.

    Where it is cut already, only the width of the next ones changes. No lock that stands in the way of a
    read or write is held for longer than a moment: what takes long is the check that all rows are below the
    first bound, beside which everybody reads and writes. Raises PartitioningRefused.
    """
    if connection.vendor != "postgresql":
        raise PartitioningRefused("only PostgreSQL can cut a table into partitions")
    with _alone():
        if not _is_partitioned():
            _begin(width)
        _make_ahead(width)
    return read()


def tend() -> None:
    """Make partitions ahead, and drop those that retention has emptied; take away what a killed command left.

    Called by the monitor now and then. What can't have its lock at once is left for the next time.
    """
    if connection.vendor != "postgresql":
        return
    try:
        if _is_partitioned():
            _renew()
        elif _is_bounded():
            with _alone():
                _at_once(UNBOUND)
    except PartitioningRefused:
        pass  # somebody is cutting the table: the bound is theirs
    except OperationalError as fault:
        if not _is_for_a_lock(fault):
            raise


def _renew() -> None:
    _make_ahead(_width(read()))
    for partition in emptied(read()):
        _at_once(f"DROP TABLE {partition.name}")


def emptied(present: Sequence[Partition]) -> list[Partition]:
    """Those that no job's id falls into any more, nor ever will."""
    last_id = _last_id()
    past = [partition for partition in present if partition.upper <= last_id]
    return [p for p in past if not Job.objects.filter(id__gte=p.lower or 0, id__lt=p.upper).exists()]


def read() -> list[Partition]:
    """The partitions with bounds, in their order."""
    rows = _rows(
        "SELECT c.relname, pg_get_expr(c.relpartbound, c.oid) FROM pg_inherits i "  # noqa: S608
        f"JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = '{TABLE}'::regclass"
    )
    bounded = [(name, re.findall(r"MINVALUE|\d+", bounds)) for name, bounds in rows if name != REST]
    found = [
        Partition(name, None if lower == "MINVALUE" else int(lower), int(upper))
        for name, (lower, upper) in bounded
    ]
    return sorted(found, key=lambda partition: partition.upper)


def _width(present: Sequence[Partition]) -> int:
    """How many ids the latest partition holds."""
    latest = present[-1]
    return latest.upper - (latest.lower or 0)


def _begin(width: int) -> None:
    upper = end_of_first(_last_id(), width, int(_rows(f"SELECT pg_table_size('{TABLE}')")[0][0]))
    try:
        _make_first(upper)
    except BaseException:
        # The bound holds for new rows from its first moment on: left behind, it would refuse them one day.
        _unbind()
        raise


def _make_first(upper: int) -> None:
    _sooner_or_later(
        UNBOUND,
        f"ALTER TABLE {TABLE} ADD CONSTRAINT {FIRST}_only CHECK (job_id < {upper}::bigint) NOT VALID",
    )
    # The long part: one read of the whole table, beside which others read and write.
    _execute(f"ALTER TABLE {TABLE} VALIDATE CONSTRAINT {FIRST}_only")
    # The table becomes a partition of a new one; the checked constraint spares it a second look.
    _sooner_or_later(
        f"ALTER TABLE {TABLE} RENAME TO {FIRST}",
        f"ALTER INDEX {TABLE}_pkey RENAME TO {FIRST}_pkey",
        f"CREATE TABLE {TABLE} (LIKE {FIRST} INCLUDING DEFAULTS) PARTITION BY RANGE (job_id)",
        f"ALTER TABLE {TABLE} ADD CONSTRAINT {TABLE}_pkey PRIMARY KEY (job_id)",
        f"ALTER TABLE {TABLE} ATTACH PARTITION {FIRST} FOR VALUES FROM (MINVALUE) TO ({upper})",
        f"ALTER TABLE {FIRST} DROP CONSTRAINT {FIRST}_only",
        f"CREATE TABLE {REST} PARTITION OF {TABLE} DEFAULT WITH ({STORAGE})",
    )


def _unbind() -> None:
    """Take the bound off the table, if it has one; where that fails, the monitor does it later."""
    if not connection.is_usable():
        connection.close()
    # Alone once more: with a lost session its lock was lost as well.
    with suppress(Error, PartitioningRefused), _alone():
        if _is_bounded():
            _sooner_or_later(UNBOUND)


def _is_bounded() -> bool:
    """Whether the table is to be cut, or was when a command was killed."""
    return bool(
        _rows(
            f"SELECT 1 FROM pg_constraint WHERE conname = '{FIRST}_only' "  # noqa: S608 names of our own
            f"AND conrelid = '{TABLE}'::regclass"
        )
    )


def _make_ahead(width: int) -> None:
    in_rest = int(_rows(f"SELECT coalesce(max(job_id), 0) FROM {REST}")[0][0])  # noqa: S608 a name of our own
    for partition in wanted(read(), _last_id(), width, in_rest):
        # Attached, not made as a partition: that would shut out everybody who reads or writes.
        _at_once(
            f"CREATE TABLE {partition.name} (LIKE {TABLE} INCLUDING ALL) WITH ({STORAGE})",
            f"ALTER TABLE {TABLE} ATTACH PARTITION {partition.name} "
            f"FOR VALUES FROM ({partition.lower}) TO ({partition.upper})",
        )


def _last_id() -> int:
    last: int | None = Job.objects.aggregate(last=Max("id"))["last"]
    return last or 0


def _is_partitioned() -> bool:
    return _rows(f"SELECT relkind FROM pg_class WHERE oid = '{TABLE}'::regclass") == [("p",)]  # noqa: S608


@contextmanager
def _alone() -> Iterator[None]:
    """One at a time in this database."""
    if _rows(f"SELECT pg_try_advisory_lock({_ADVISORY_LOCK})") != [(True,)]:
        raise PartitioningRefused("somebody else is cutting the table at this moment")
    try:
        yield
    finally:
        _execute(f"SELECT pg_advisory_unlock({_ADVISORY_LOCK})")


def _sooner_or_later(*statements: str) -> None:
    """`_at_once`, again while somebody else holds the locks; PartitioningRefused after half a minute."""
    for _ in range(LOCK_TRIES):
        try:
            return _at_once(*statements)
        except OperationalError as fault:
            if not _is_for_a_lock(fault):
                raise
        time.sleep(LOCK_PAUSE)
    raise PartitioningRefused("the table is never free: a backup, or a long query? try again later")


def _at_once(*statements: str) -> None:
    """All of them in one transaction, which gives up if it has to wait for a lock."""
    with transaction.atomic():
        _execute(f"SET LOCAL lock_timeout = {int(LOCK_SECONDS * 1000)}")
        for statement in statements:
            _execute(statement)


def _is_for_a_lock(fault: OperationalError) -> bool:
    return isinstance(fault.__cause__, LockNotAvailable)


def _execute(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


def _rows(query: str) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(query)
        rows: list[tuple[Any, ...]] = cursor.fetchall()
    return rows
