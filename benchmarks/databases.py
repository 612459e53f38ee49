"""Fresh databases to measure on: SQLite in a file, PostgreSQL on a private server."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Protocol

import psycopg

from tests.harness import PostgresServer

SQLITE, POSTGRESQL = "sqlite", "postgresql"
LABELS = {SQLITE: "SQLite", POSTGRESQL: "PostgreSQL"}
# PostgreSQL as it comes, with a cache and a log fit for a small server; every commit is durable.
FOR_BENCHMARKS: Mapping[str, str] = {"shared_buffers": "512MB", "max_wal_size": "4GB"}


class Databases(Protocol):
    """Databases of one vendor, named by their DATABASE_URL."""

    def fresh(self, template: str = "") -> str:
        """The address of a new database: empty, or with what `template`, which nobody uses now, holds."""

    def discard(self, url: str) -> None:
        """Delete a database that nobody uses any more."""

    def size(self, url: str) -> int:
        """Bytes on disk."""

    def number(self, url: str, question: str) -> float:
        """The one number that a statement answers."""


class SqliteFiles:
    """Files of a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._made = 0

    def fresh(self, template: str = "") -> str:
        self._made += 1
        path = self._folder / f"record-{self._made}.sqlite3"
        if template:
            shutil.copyfile(_path(template), path)
        return f"sqlite:///{path}"

    def discard(self, url: str) -> None:
        for path in _files(url):
            path.unlink()

    def size(self, url: str) -> int:
        return sum(path.stat().st_size for path in _files(url))

    def number(self, url: str, question: str) -> float:
        with closing(sqlite3.connect(f"file:{_path(url)}?mode=ro", uri=True, timeout=20)) as connection:
            [(answer,)] = connection.execute(question)
        return float(answer)


def _path(url: str) -> Path:
    return Path(url.removeprefix("sqlite:///"))


def _files(url: str) -> list[Path]:
    path = _path(url)
    return [file for suffix in ("", "-wal", "-shm") if (file := path.with_name(path.name + suffix)).exists()]


class PostgresDatabases:
    """Databases of one server."""

    def __init__(self, server: PostgresServer) -> None:
        self._server = server
        self._made = 0

    def fresh(self, template: str = "") -> str:
        self._made += 1
        name = f"record_{self._made}"
        self._run(f"CREATE DATABASE {name} TEMPLATE {_name(template) if template else 'template0'}")
        return self._server.url(name)

    def discard(self, url: str) -> None:
        self._run(f"DROP DATABASE {_name(url)}")

    def size(self, url: str) -> int:
        return int(self.number(url, "SELECT pg_database_size(current_database())"))

    def number(self, url: str, question: str) -> float:
        with psycopg.connect(url) as connection:
            [(answer,)] = connection.execute(question.encode())
        return float(answer)

    def _run(self, statement: str) -> None:
        with psycopg.connect(self._server.url("postgres"), autocommit=True) as connection:
            connection.execute(statement.encode())


def _name(url: str) -> str:
    return url.partition("?")[0].rpartition("/")[2]


@contextmanager
def databases(vendor: str, folder: Path) -> Iterator[Databases]:
    """A maker of databases; all of them are gone afterwards."""
    if vendor == SQLITE:
        yield SqliteFiles(folder)
        return
    with ExitStack() as stack:
        server = PostgresServer(options=FOR_BENCHMARKS)
        stack.callback(server.remove)
        server.start()
        yield PostgresDatabases(server)
