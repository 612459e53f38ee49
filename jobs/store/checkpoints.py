"""SQLite's write-ahead log goes into its database file now and then: when, and in whose time."""

from __future__ import annotations

from django.db import DEFAULT_DB_ALIAS, connection, connections

from jobs.store.turns import turn

# Beyond so many pages the log is brought in whole, and commits wait for that.
MOST_PAGES = 100_000


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
    if connection.vendor == "sqlite" and _pages_left() > MOST_PAGES:
        with turn():
            _pages_left()


def _pages_left() -> int:
    """How long the log is, once what could be brought in is; 0 if that was all of it."""
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA wal_checkpoint(PASSIVE)")
        _, pages, brought_in = cursor.fetchone()
    return 0 if pages == brought_in else int(pages)
