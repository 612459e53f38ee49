"""How long a statement of this process may take: a matter of PostgreSQL alone."""

from __future__ import annotations

from django.db import DEFAULT_DB_ALIAS, connections


def limit(**seconds: float) -> None:
    """Have every session that this process begins give up what takes longer.

    Names are those of PostgreSQL's timeouts, such as `statement_timeout`; a
    limit that DATABASE_URL sets in its `options` goes before ours. Call it
    before the first query.
    """
    database = connections.settings[DEFAULT_DB_ALIAS]
    if database["ENGINE"].endswith("postgresql"):
        ours = " ".join(f"-c {name}={int(value * 1000)}" for name, value in seconds.items())
        database["OPTIONS"]["options"] = f"{ours} {database['OPTIONS'].get('options', '')}".strip()
