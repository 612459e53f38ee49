from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.db import connection
from django.db.models.signals import post_migrate
from django.test import Client
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings

from jobs.models import Cluster
from nightdesk import recorder
from tests.harness import Installation, PostgresServer, Process, RedisServer
from workers.triggers import rules

# How long an example takes depends on what else the machine does.
hypothesis_settings.register_profile("default", deadline=None, suppress_health_check=[HealthCheck.too_slow])
hypothesis_settings.register_profile(
    "many", parent=hypothesis_settings.get_profile("default"), max_examples=10_000
)
hypothesis_settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


def pytest_unconfigure() -> None:
    if connection.vendor == "postgresql":
        shutil.rmtree(connection.settings_dict["HOST"], ignore_errors=True)
    shutil.rmtree(settings.DATA_DIR, ignore_errors=True)


@pytest.fixture(autouse=True)
def no_triggers() -> Iterator[None]:
    """Nobody looks triggers up, which would be one query more now and then, until a test calls `forget`."""
    rules.known_until = float("inf")
    yield
    rules.forget()


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """The suite's own Redis, at the address that settings.REDIS_URL names."""
    server = RedisServer(settings.DATA_DIR)
    assert server.url == settings.REDIS_URL
    server.start()
    yield server
    server.stop()


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    """The address of the suite's own Redis, emptied for this test, with what killed processes left."""
    with redis_server.client() as client:
        client.flushall()
    shutil.rmtree(settings.DATA_DIR / "spool", ignore_errors=True)
    return redis_server.url


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer | None]:
    """The suite's own PostgreSQL, at the address in DATABASE_URL; None where the suite runs on SQLite."""
    if connection.vendor != "postgresql":
        yield None
        return
    server = PostgresServer(Path(connection.settings_dict["HOST"]))
    assert server.url() == os.environ["DATABASE_URL"]
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def django_db_modify_db_settings(postgres_server: PostgresServer | None) -> None:
    """What must be there before the test database is made."""


@pytest.fixture(scope="session")
def django_db_keepdb() -> bool:
    """The database need not be deleted, since its server is, with whoever is still connected."""
    return connection.vendor == "postgresql"


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None) -> Iterator[None]:
    """The test database, whose default cluster comes back after each flush."""
    post_migrate.connect(keep_default_cluster, dispatch_uid="tests.keep_default_cluster")
    yield
    post_migrate.disconnect(dispatch_uid="tests.keep_default_cluster")


def keep_default_cluster(**_: Any) -> None:
    Cluster.objects.get_or_create(pk=Cluster.DEFAULT_ID, defaults={"name": "default"})


@pytest.fixture
def installation(
    transactional_db: None,
    postgres_server: PostgresServer | None,
    redis_server: RedisServer,
    redis_url: str,
) -> Iterator[Installation]:
    """Starters for real processes on the database and the Redis of this test."""
    installation = Installation(settings.DATA_DIR, database_url(postgres_server), redis_server)
    yield installation
    installation.stop()


def database_url(server: PostgresServer | None) -> str:
    """The address of the test database."""
    name = connection.settings_dict["NAME"]
    return server.url(name) if server else f"sqlite:///{name}"


@pytest.fixture
def published_from_here(redis_url: str) -> Iterator[recorder.Recorder]:
    """The recorder of this process, which publishes: all is sent, and the next test is a new producer."""
    recorder_here = recorder.installed()
    assert recorder_here is not None
    recorder_here.writer.restart()
    yield recorder_here
    recorder_here.drain()


@pytest.fixture
def monitor(installation: Installation) -> Process:
    """A monitor of this test's own."""
    return installation.monitor()


@pytest.fixture
def ops(db: None) -> User:
    """A signed-in person may be this one: an administrator."""
    return User.objects.create_superuser("ops", password="a long night at the desk")


@pytest.fixture
def visitor(client: Client, ops: User) -> Client:
    """A browser in which `ops` is signed in."""
    client.force_login(ops)
    return client
