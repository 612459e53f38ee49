"""Names by patterns with `*`, alike in Python and on both databases: case counts, nothing else is special."""

from __future__ import annotations

import re
from typing import Any

from django.db.models import CharField, Lookup

ANY = "*"


def matches(pattern: str, name: str) -> bool:
    """Whether `name` is what `pattern` says. Its cost is linear, whatever the pattern."""
    first, *rest = pattern.split(ANY)
    if not rest:
        return name == pattern
    if not name.startswith(first):
        return False
    place = len(first)
    for part in rest[:-1]:
        found = name.find(part, place)
        if found < 0:
            return False
        place = found + len(part)
    return len(name) - place >= len(rest[-1]) and name.endswith(rest[-1])


@CharField.register_lookup
class Patterned(Lookup):
    """`name__patterned="shop.*"`. (Django's own `startswith` passes over capitals on SQLite.)"""

    lookup_name = "patterned"

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, tuple[Any, ...]]:
        """LIKE, whose wildcards are escaped."""
        left, parameters = self.process_lhs(compiler, connection)
        pattern = re.sub(r"([\\%_])", r"\\\1", str(self.rhs)).replace(ANY, "%")
        return f"{left} LIKE %s", (*parameters, pattern)

    def as_sqlite(self, compiler: Any, connection: Any) -> tuple[str, tuple[Any, ...]]:
        """GLOB, likewise."""
        left, parameters = self.process_lhs(compiler, connection)
        return f"{left} GLOB %s", (*parameters, re.sub(r"([\[?])", r"[\1]", str(self.rhs)))
