"""Who may run a job now: one row a job, taken by one statement.

The row names the attempt that was claimed last, the token of who claimed it,
and until when the claim holds by the database's clock. It goes to whoever asks
for a later attempt, and to the next who asks once the lease is over and the
job not done. Whoever let a lease run out, and neither ended nor gave the job
back, is counted as lost.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from django.db import connections, models

# Seconds since the epoch, by the clock of the database: that of a worker may be off.
NOW = {
    "sqlite": "((julianday('now') - 2440587.5) * 86400.0)",
    "postgresql": "extract(epoch from clock_timestamp())",
}
# A crash of the database's machine may forget its last moment; who holds a claim then renews it.
WITHOUT_WAITING = "set_config('synchronous_commit', 'off', true) AS asked"


@dataclass(frozen=True)
class Claimed:
    """A claim as it stands: `held_for` and `left` are seconds; `left` is negative once the lease is over.

    `losses` is how many of those who had claimed it were lost.
    """

    attempt: int
    token: str
    done: bool
    held_for: float
    left: float
    losses: int


def claim(
    model: type[models.Model], task_id: str, attempt: int, token: str, lease: float, using: str
) -> int | None:
    """How many were lost that had claimed the job before, if the attempt is ours now, for `lease` seconds.

    None if it isn't. One statement.
    """
    with connections[using].cursor() as cursor:
        waits = connections[using].in_atomic_block
        cursor.execute(_claim(model, using, waits), [task_id, attempt, token, lease])
        row = cursor.fetchone()
    return None if row is None else int(row[0])


def look(model: type[models.Model], task_id: str, using: str) -> Claimed | None:
    """The claim of a job, if there is one."""
    now = NOW[connections[using].vendor]
    with connections[using].cursor() as cursor:
        cursor.execute(
            f"SELECT attempt, token, done, {now} - since, until - {now}, losses "  # noqa: S608 names of our own
            f"FROM {model._meta.db_table} WHERE task_id = %s",
            [task_id],
        )
        row = cursor.fetchone()
    return (
        None
        if row is None
        else Claimed(row[0], row[1], bool(row[2]), float(row[3]), float(row[4]), int(row[5]))
    )


def renew(model: type[models.Model], held: Mapping[str, str], lease: float, using: str) -> set[str]:
    """Hold on to these (token by task id) for `lease` seconds more; the task ids that are still ours."""
    tokens, ids = list(held.values()), list(held)
    return _changed(model, f"until = {NOW[connections[using].vendor]} + {float(lease)!r}", ids, tokens, using)


def release(model: type[models.Model], task_id: str, token: str, using: str) -> None:
    """Let go of a job that is not done: the next who asks may have it."""
    _changed(model, "until = 0", [task_id], [token], using)


def finish(model: type[models.Model], task_id: str, token: str, using: str) -> bool:
    """It is done, and never runs again; False if it was not ours any more."""
    return bool(_changed(model, "done = true", [task_id], [token], using))


def let_go(model: type[models.Model], task_id: str, attempt: int, using: str) -> None:
    """Whoever runs this attempt has just been killed: nobody need wait until its lease is over."""
    held = model._default_manager.using(using).filter(pk=task_id, attempt=attempt, done=False)
    held.update(until=0)


def close(model: type[models.Model], task_id: str, attempt: int | None, using: str) -> None:
    """Somebody who can't have claimed it, such as a worker's main process, has settled how an attempt ended.

    A later attempt goes on; where `attempt` isn't known, whichever runs is over.
    """
    claims = model._default_manager.using(using).filter(pk=task_id)
    if attempt is None:
        claims.update(done=True)
    else:
        claims.filter(attempt__lte=attempt).update(done=True, attempt=attempt)


def _changed(
    model: type[models.Model], change: str, ids: Sequence[str], tokens: Sequence[str], using: str
) -> set[str]:
    """Change claims that are still held; the ids of those."""
    with connections[using].cursor() as cursor:
        cursor.execute(
            f"UPDATE {model._meta.db_table} SET {change} "  # noqa: S608 names of our own
            f"WHERE task_id IN ({_marks(ids)}) AND token IN ({_marks(tokens)}) AND NOT done "
            "RETURNING task_id",
            [*ids, *tokens],
        )
        return {row[0] for row in cursor.fetchall()}


def _marks(values: Sequence[str]) -> str:
    return ", ".join(["%s"] * len(values))


@cache
def _claim(model: type[models.Model], using: str, waits: bool) -> str:
    vendor = connections[using].vendor
    table, now = model._meta.db_table, NOW[vendor]
    source = "" if waits or vendor != "postgresql" else f" FROM {WITHOUT_WAITING}"
    return (
        f"INSERT INTO {table} (task_id, attempt, token, until, since, at, done, losses) "
        f"SELECT %s, %s, %s, {now} + %s, {now}, CURRENT_TIMESTAMP, false, 0{source} {_ALWAYS[vendor]}"
        f"ON CONFLICT (task_id) DO UPDATE SET attempt = excluded.attempt, token = excluded.token, "
        f"until = excluded.until, since = excluded.since, done = false, "
        f"losses = {table}.losses + CASE WHEN excluded.attempt = {table}.attempt AND NOT {table}.done "
        f"AND excluded.token <> {table}.token AND {table}.until > 0 THEN 1 ELSE 0 END "
        f"WHERE excluded.attempt > {table}.attempt OR (excluded.attempt = {table}.attempt "
        f"AND NOT {table}.done AND (excluded.token = {table}.token OR {table}.until < {now})) "
        "RETURNING losses"
    )


# SQLite takes ON CONFLICT after a SELECT for the condition of a join unless there is a WHERE.
_ALWAYS = {"sqlite": "WHERE true ", "postgresql": ""}
