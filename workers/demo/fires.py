"""What burns in the shop now, as its tasks ask in each process: a file for each fire, which holds its end."""

from __future__ import annotations

import time
from pathlib import Path

from workers.demo.echo import folder


def alight(what: str) -> bool:
    """Whether this burns now."""
    try:
        return float(_path(what).read_text()) > time.time()
    except (FileNotFoundError, ValueError):  # ValueError: it is being written
        return False


def light(what: str, until: float) -> None:
    """Set it on fire, until then (seconds since the epoch)."""
    _path(what).write_text(str(until))


def put_out(what: str) -> None:
    """End it."""
    _path(what).unlink(missing_ok=True)


def _path(what: str) -> Path:
    return folder() / f"fire-{what}"
