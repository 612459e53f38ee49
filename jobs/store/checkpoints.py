"""SQLite's write-ahead log goes into its database file now and then: when, and in whose time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from django.db import DEFAULT_DB_ALIAS, connection, connections

from jobs.store.turns import turn

# Beyond so many pages the log has to begin anew: while all of it is in the file, and commits wait for that.
# Were it longer than `journal_size_limit` by then, the next commit would also have to cut its file.
MOST_PAGES = 25_000

_disk = threading.Lock()


def leave_to_a_loop() -> None:
    """From now on no commit of this process brings the log in: `bring_in` is called instead, now and then.

    Call it before the first query.
    """
    database = connections.settings[DEFAULT_DB_ALIAS]
    if database["ENGINE"].endswith("sqlite3"):
        first = database["OPTIONS"].get("init_command", "")
        database["OPTIONS"]["init_command"] = f"{first};PRAGMA wal_autocheckpoint=0".strip(";")


def bring_in() -> None:
    """Bring the log into the database file, while others write; nothing on PostgreSQL."""
    if connection.vendor != "sqlite":
        return
    with apart():
        if _bring_in_what_can_be() > MOST_PAGES:
            _bring_in_what_can_be()  # what was added meanwhile: little is left for the time when all wait
            with turn():
                _bring_in_what_can_be()


@contextmanager
def apart() -> Iterator[None]:
    """A time in which the log is not brought in: for writes that can wait until the disk is less busy.

    A write that waits for the disk holds up whoever has the next turn.
    """
    with _disk:
        yield


def _bring_in_what_can_be() -> int:
    """How many pages long the log is. It begins anew with the next commit, if nothing was added meanwhile."""
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA wal_checkpoint(PASSIVE)")
        _, pages, _ = cursor.fetchone()
    return int(pages)
