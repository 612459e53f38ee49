"""Reading costs the same at any size: no statement walks through a table or sorts one."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from itertools import product

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django_celery_beat.models import PeriodicTask
from django_tasks import default_task_backend
from django_tasks.exceptions import TaskResultDoesNotExist

from jobs import live, search, store
from jobs.enqueued import jobs_of
from jobs.models import Action, Cluster, Enqueued, Revocation, Tick
from jobs.search import Query
from tests.plans import is_dear, make_large
from tests.seed import seed
from workers.beat.running import running_jobs
from workers.enqueue import EnqueuedJob
from workers.followups import Follower
from workers.revocations import _met

NOW = datetime(2026, 11, 21, 3, 2, 30, tzinfo=UTC)
pytestmark = pytest.mark.django_db
# Of a transaction within that of the test; they have no plan.
MARKS = ("SAVEPOINT", "RELEASE")


@pytest.fixture(autouse=True)
def record() -> None:
    seed(NOW)
    make_large()


def dear_statements(read: Callable[[], object], *, may_sort: bool = False) -> list[str]:
    """The statements of `read` that walk, or sort."""
    with CaptureQueriesContext(connection) as captured:
        read()
    assert captured.captured_queries
    said = [sql for query in captured.captured_queries if not (sql := query["sql"]).startswith(MARKS)]
    return [sql for sql in said if is_dear(sql, may_sort=may_sort)]


def test_a_dear_statement_is_recognised() -> None:
    assert is_dear('SELECT COUNT(*) FROM "nightdesk_jobs_job"')
    assert is_dear('SELECT id FROM "nightdesk_jobs_job" WHERE cluster_id = 1 ORDER BY seen_at')
    assert is_dear("SELECT id FROM nightdesk_jobs_job WHERE state = 'nowhere' LIMIT 1")
    assert not is_dear('SELECT id FROM "nightdesk_jobs_job" ORDER BY id DESC LIMIT 1')
    assert not is_dear('SELECT id FROM "nightdesk_jobs_job" WHERE id = 1')


def test_frames_are_read_flatly() -> None:
    for name in ("overview", "jobs", "schedules", "coverage", "job-1"):
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
    finds = ("/find/?q=job-1", "/find/?q=b7e4c1d2", "/find/?q=high")
    places = (*finds, "/coverage/", "/gaps/", "/gaps/?before=90", "/quarantine/")
    singles = ("/", "/jobs/", "/jobs/?state=failed", "/jobs/job-1/", "/readyz", "/dead/", "/errors/")
    for address in (*singles, *places):
        assert dear_statements(partial(client.get, address)) == [], address


@pytest.mark.parametrize("asked", ["", "?p=3", "?o=1", "?o=-2", "?all="])
def test_the_list_in_the_admin_is_read_flatly_and_in_one_order_only(
    client: Client, ops: User, asked: str
) -> None:
    client.force_login(ops)
    assert dear_statements(partial(client.get, f"/admin/nightdesk_jobs/job/{asked}")) == []


def test_schedules_are_read_flatly(client: Client, ops: User) -> None:
    client.force_login(ops)
    schedule = fired("job-1")
    for address in ("/schedules/", f"/schedules/{schedule.pk}/"):
        assert dear_statements(partial(client.get, address), may_sort=True) == [], address


def fired(task_id: str) -> PeriodicTask:
    """A schedule that has sent this job."""
    schedule: PeriodicTask = PeriodicTask.objects.get(name="partner-import")
    times = {"due": NOW, "fired_at": NOW, "known_at": NOW}
    Tick.objects.create(schedule=schedule, outcome="fired", task_id=task_id, **times)
    return schedule


def test_jobs_of_which_an_id_is_known_are_read_flatly(ops: User) -> None:
    schedule = fired("job-1")
    Enqueued.objects.create(task_id="job-1", model="auth.user", object_id=str(ops.pk), at=NOW)
    Action.objects.create(
        at=NOW, who="ops", via="page", command="job.retry", target_kind="job", target="job-1",
        outcome="sent", after='{"task_id": "job-1"}',
    )  # fmt: skip
    reads: dict[str, Callable[[], object]] = {
        "of an object": lambda: list(jobs_of(ops)),
        "that was enqueued": lambda: EnqueuedJob("job-1", "t").job,
        "by Django's interface": _result,
        "that Beat has sent": lambda: running_jobs([schedule.pk], NOW),
        "that somebody wants to revoke": lambda: _met([Revocation(task_id="job-1")]),
        "that people have made": Follower(lambda _: None).turn,
    }
    for name, read in reads.items():
        assert dear_statements(read, may_sort=True) == [], name


def _result() -> None:
    with contextlib.suppress(TaskResultDoesNotExist):
        default_task_backend.get_result("nobody's")


@pytest.mark.parametrize("name", ["taskresult", "groupresult"])
def test_lists_of_results_in_the_admin_look_at_the_newest_alone(client: Client, ops: User, name: str) -> None:
    client.force_login(ops)
    with CaptureQueriesContext(connection) as captured:
        assert client.get(f"/admin/django_celery_results/{name}/?o=2").status_code == 200
    asked = [sql for query in captured.captured_queries if f"celery_results_{name}" in (sql := query["sql"])]
    assert asked
    assert all(f'ORDER BY "django_celery_results_{name}"."id" DESC' in sql for sql in asked), asked
    assert all(" LIMIT " in sql for sql in asked if "COUNT" in sql), asked
    assert not any("DISTINCT" in sql for sql in asked), asked


@pytest.mark.skipif("connection.vendor != 'postgresql'", reason="SQLite has no other way")
def test_many_jobs_are_looked_up_one_by_one() -> None:
    with CaptureQueriesContext(connection) as captured:
        store.read("job", ("id", "seen_at"), "task_id", [str(number) for number in range(500)], 1)
        store.read("attempt", ("job_id", "rank"), "job_id", list(range(500)))
    by_task_id, by_job = (plan_of(query["sql"]) for query in captured.captured_queries)
    assert "Index Cond: ((cluster_id = 1) AND ((task_id)::text = asked.value))" in by_task_id
    assert "Index Cond: (job_id = asked.value)" in by_job


def plan_of(sql: str) -> str:
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN {sql}")
        return "\n".join(row[0] for row in cursor.fetchall())
