"""Whose fault a database's error is: that of what was written, or its own."""

from __future__ import annotations

# Classes of SQLSTATE that tell of values: cardinality, data, integrity, limits of the program.
CLASSES_OF_DATA = ("21", "22", "23", "54")
# Primary result codes of SQLite that do: too big, constraint, mismatch, range.
CODES_OF_DATA = frozenset({18, 19, 20, 25})


def may_be_of_the_data(fault: Exception) -> bool:
    """Whether another batch might have gone through.

    Not so for a lock, a full disk, a lost connection, a missing table or right.
    """
    cause = fault.__cause__ or fault
    state = getattr(cause, "sqlstate", None)
    if state is not None:
        return str(state).startswith(CLASSES_OF_DATA)
    code = getattr(cause, "sqlite_errorcode", None)
    return code is None or code & 0xFF in CODES_OF_DATA
