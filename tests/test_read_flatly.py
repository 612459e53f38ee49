"""Reading costs the same at any size: no statement walks through a table or sorts one."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from itertools import product

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from jobs import live, search
from jobs.models import Cluster
from jobs.search import Query
from tests.seed import seed

NOW = datetime(2026, 11, 21, 3, 2, 30, tzinfo=UTC)
# These hold a handful of rows, whatever happens.
SMALL = (
    "nightdesk_jobs_heartbeat",
    "nightdesk_jobs_cluster",
    "nightdesk_jobs_position",
    "nightdesk_jobs_quarantine",
)

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def record() -> None:
    seed(NOW)


def dear_statements(read: Callable[[], object]) -> list[str]:
    """Statements that walk through a whole table of the record, or sort what they found."""
    with CaptureQueriesContext(connection) as captured:
        read()
    assert captured.captured_queries
    return [sql for query in captured.captured_queries if is_dear(sql := query["sql"])]


def is_dear(sql: str) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN QUERY PLAN {sql}")
        steps = [row[3] for row in cursor.fetchall()]
    bounded = " LIMIT " in sql and " WHERE " not in sql
    return any((_walks(step) and not bounded) or "TEMP B-TREE FOR ORDER BY" in step for step in steps)


def _walks(step: str) -> bool:
    return step.startswith("SCAN nightdesk_jobs_") and not step.startswith(
        tuple(f"SCAN {name}" for name in SMALL)
    )


def test_a_dear_statement_is_recognised() -> None:
    assert is_dear('SELECT COUNT(*) FROM "nightdesk_jobs_job"')
    assert is_dear('SELECT id FROM "nightdesk_jobs_job" WHERE cluster_id = 1 ORDER BY seen_at')
    assert is_dear('SELECT id FROM "nightdesk_jobs_job" WHERE state = 5 LIMIT 1')
    assert not is_dear('SELECT id FROM "nightdesk_jobs_job" ORDER BY id DESC LIMIT 1')
    assert not is_dear('SELECT id FROM "nightdesk_jobs_job" WHERE id = 1')


def test_frames_are_read_flatly() -> None:
    for name in ("overview", "jobs", "schedules", "job-1"):
        topic = live.topic_named(name, "all")
        assert dear_statements(partial(live.frame, topic, Cluster.DEFAULT_ID, NOW)) == [], name


def test_lists_are_read_flatly(ops: User) -> None:
    states = (None, "failed", "succeeded", "queued")
    tasks, queues = (None, "workers.demo.tasks.send_webhook"), (None, "high")
    places = ((None, None), (90, None), (None, 5))
    for state, task, queue, (before, after) in product(states, tasks, queues, places):
        query = Query(state=state, task=task, queue=queue, before=before, after=after)
        assert dear_statements(partial(search.find, query, ops)) == [], query


def test_what_to_filter_by_is_read_flatly(ops: User) -> None:
    assert dear_statements(partial(search.names, Cluster.DEFAULT_ID, ops, NOW)) == []


def test_pages_are_read_flatly(client: Client, ops: User) -> None:
    client.force_login(ops)
    for address in ("/", "/jobs/", "/jobs/?state=failed", "/admin/nightdesk_jobs/job/", "/readyz"):
        assert dear_statements(partial(client.get, address)) == [], address
