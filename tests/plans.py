"""What a database does for a statement: whether it walks through a table of the record, or sorts one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.db import connection, transaction

# These hold a handful of rows, whatever happens.
SMALL = (
    "nightdesk_jobs_heartbeat",
    "nightdesk_jobs_cluster",
    "nightdesk_jobs_position",
    "nightdesk_jobs_quarantine",
)
# PostgreSQL plans by the number of rows, so there it is not the plan that is judged but what it did, without
# what it would not choose for millions.
MANY, MOST_LOOKED_AT = 20_000, 12_000
NOT_FOR_MILLIONS = ("seqscan", "hashjoin", "mergejoin")
FILLED = {
    "nightdesk_jobs_job": {
        "id": "n",
        "cluster_id": "1",
        "task_id": "'filler-' || n",
        "task": "'task-' || n % 40",
        "queue": "'queue-' || n % 3",
        "state": "'succeeded'",
        "retries, delivery, rank, attempts": "0, 1, 80, 1",
        "seen_at": "now()",
    },
    "nightdesk_jobs_attempt": {"job_id": "n", "state": "'succeeded'", "retries, delivery, rank": "0, 1, 80"},
    "nightdesk_jobs_standing": {
        "job_id": "n",
        "cluster_id": "1",
        "task": "'task-' || n % 40",
        "queue": "'queue-' || n % 3",
        "state": "'received'",
    },
}


def is_dear(sql: str, *, may_sort: bool = False) -> bool:
    """Whether its cost grows with the number of jobs; `may_sort`: what an index has found is few."""
    return _does_much(sql) if connection.vendor == "postgresql" else _plans_much(sql, may_sort=may_sort)


def make_large() -> None:
    """Fill PostgreSQL's tables, so that looking at all of a table is seen."""
    if connection.vendor != "postgresql":
        return
    with connection.cursor() as cursor:
        for table, values in FILLED.items():
            cursor.execute(
                f"INSERT INTO {table} ({', '.join(values)}) SELECT {', '.join(values.values())} "
                f"FROM generate_series(1000001, 1000000 + {MANY}) n"
            )
        cursor.execute("ANALYZE")


def _plans_much(sql: str, *, may_sort: bool) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN QUERY PLAN {sql}")
        steps = [row[3] for row in cursor.fetchall()]
    bounded = " LIMIT " in sql and " WHERE " not in sql
    sorts = any("TEMP B-TREE FOR ORDER BY" in step for step in steps)
    return any(_walks(step) and not bounded for step in steps) or (sorts and not may_sort)


def _walks(step: str) -> bool:
    return step.startswith("SCAN nightdesk_jobs_") and not step.startswith(
        tuple(f"SCAN {name}" for name in SMALL)
    )


def _does_much(sql: str) -> bool:
    """Whether it looked at more rows than a page may, however few it showed."""
    with transaction.atomic(), connection.cursor() as cursor:
        for step in NOT_FOR_MILLIONS:
            cursor.execute(f"SET LOCAL enable_{step} = off")
        cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}")
        [[plans]] = cursor.fetchall()
        transaction.set_rollback(True)
    scans = [node for plan in plans for node in _nodes(plan["Plan"]) if "Relation Name" in node]
    return any(_looked_at(scan) > MOST_LOOKED_AT for scan in scans)


def _looked_at(scan: dict[str, Any]) -> float:
    removed = scan.get("Rows Removed by Filter", 0) + scan.get("Rows Removed by Index Recheck", 0)
    return float(scan["Actual Loops"] * (scan["Actual Rows"] + removed))


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for part in plan.get("Plans", ()):
        yield from _nodes(part)
