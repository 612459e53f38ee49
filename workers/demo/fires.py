"""What burns in the shop now, as its tasks ask in each process: a file that names each fire and its end."""

from __future__ import annotations

import json
import time
from pathlib import Path

from workers.demo.echo import folder


def alight(what: str) -> bool:
    """Whether this burns now."""
    return _fires().get(what, 0.0) > time.time()


def light(what: str, until: float) -> None:
    """Set it on fire, until then (seconds since the epoch)."""
    _write({**_fires(), what: until})


def put_out(what: str) -> None:
    """End it."""
    _write({name: until for name, until in _fires().items() if name != what})


def _fires() -> dict[str, float]:
    try:
        told = json.loads(_path().read_text())
    except FileNotFoundError:
        return {}
    return {str(name): float(until) for name, until in told.items()}


def _write(fires: dict[str, float]) -> None:
    new = _path().with_suffix(".new")
    new.write_text(json.dumps(fires))
    new.replace(_path())


def _path() -> Path:
    return folder() / "fires.json"
