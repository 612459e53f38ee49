"""Figures as a table for people and as JSON for machines."""

from __future__ import annotations

import json
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Row:
    """One figure, with its unit, and the goal it is held against."""

    what: str
    value: float
    unit: str
    goal: str = ""


def percentile(values: Sequence[float], percent: float) -> float:
    """The value at or below which `percent` of the values lie (nearest rank)."""
    ranked = sorted(values)
    return ranked[max(0, min(len(ranked) - 1, round(percent / 100 * len(ranked) + 0.5) - 1))]


def show(rows: Sequence[Row], file: Path | None) -> None:
    """Print the table; write the JSON if a file is named."""
    width = max(len(row.what) for row in rows)
    for row in rows:
        digits = 2 if row.unit == "x" else 1
        print(f"{row.what:<{width}}  {row.value:>12,.{digits}f} {row.unit:<10} {row.goal}")
    if file is not None:
        report = {
            "machine": platform.machine(),
            "python": platform.python_version(),
            "rows": [asdict(r) for r in rows],
        }
        file.write_text(json.dumps(report, indent=1) + "\n")
