"""An index is added to a table of jobs while others write to it, and again where that was broken off."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from django.apps import apps
from django.db import connection, connections, models, transaction
from django.db.migrations.state import ProjectState
from django.utils import timezone

from jobs.models import Job
from jobs.store.indexes import AddIndexBesideWriters
from tests.harness import eventually

NAME = "nightdesk_job_of_a_test"
pytestmark = pytest.mark.django_db(transaction=True)


class Addition:
    """One index, to be added to the table of jobs."""

    def __init__(self) -> None:
        index = models.Index(fields=["cluster", "origin"], name=NAME)
        self._operation = AddIndexBesideWriters("job", index)
        self._before = ProjectState.from_apps(apps)
        self._after = self._before.clone()
        self._operation.state_forwards("nightdesk_jobs", self._after)

    def forwards(self) -> None:
        with connection.schema_editor(atomic=False) as editor:
            self._operation.database_forwards("nightdesk_jobs", editor, self._before, self._after)

    def backwards(self) -> None:
        with connection.schema_editor(atomic=False) as editor:
            self._operation.database_backwards("nightdesk_jobs", editor, self._after, self._before)


@pytest.fixture
def addition() -> Iterator[Addition]:
    added = Addition()
    yield added
    if NAME in indexes():
        added.backwards()


def indexes() -> dict[str, Any]:
    with connection.cursor() as cursor:
        return dict(connection.introspection.get_constraints(cursor, Job._meta.db_table))


def a_job(task_id: str) -> Job:
    return Job.objects.create(task_id=task_id, state="queued", seen_at=timezone.now())


def test_an_index_is_added_again_where_that_was_broken_off_and_goes_with_its_migration(
    addition: Addition,
) -> None:
    for _ in range(2):
        addition.forwards()
        assert indexes()[NAME]["columns"] == ["cluster_id", "origin"]
    addition.backwards()
    assert NAME not in indexes()


@pytest.mark.skipif("connection.vendor == 'sqlite'", reason="SQLite lets one write at a time anyway")
def test_while_an_index_is_added_others_write(addition: Addition) -> None:
    job = a_job("before")
    adding = threading.Thread(target=in_own_connection, args=(addition,))
    with transaction.atomic():
        # Whoever adds an index waits for the end of this; nobody else must wait for both.
        Job.objects.filter(pk=job.pk).update(origin="web")
        adding.start()
        eventually(waits_for_us)
        writing = threading.Thread(target=write_in_own_connection)
        writing.start()
        writing.join(30)
        assert not writing.is_alive()
    adding.join(60)
    assert NAME in indexes()
    assert set(Job.objects.values_list("task_id", flat=True)) == {"before", "meanwhile"}


def in_own_connection(addition: Addition) -> None:
    addition.forwards()
    connections.close_all()


def write_in_own_connection() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET lock_timeout = '5s'")
    a_job("meanwhile")
    connections.close_all()


def waits_for_us() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
        return bool(cursor.fetchone()[0])
