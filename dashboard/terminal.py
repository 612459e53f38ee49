"""Words on a terminal: what jobs carry is shown as text there, and never obeyed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import orjson

UNKNOWN = "?"
WIDEST = 60


def printable(text: str) -> str:
    """`text` with each character written out that would move the cursor, colour, hide or turn round what is
    shown: control and format characters, line ends too."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def shown(value: Any) -> str:
    """A value in a cell."""
    if value is None:
        return UNKNOWN
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}"
    if isinstance(value, float):
        return f"{value:.3f}"
    return printable(value if isinstance(value, str) else as_json(value))


def as_json(value: Any) -> str:
    """JSON with every unusual character escaped, so that it is fit for a terminal and for a program."""
    text = orjson.dumps(value, option=orjson.OPT_UTC_Z, default=str).decode()
    return "".join(letter if letter.isprintable() else _escaped(letter) for letter in text)


def _escaped(letter: str) -> str:
    """As JSON writes it: in UTF-16, by four digits."""
    units = letter.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[i : i + 4]}" for i in range(0, len(units), 4))


def table(names: Sequence[str], rows: Iterable[Sequence[Any]]) -> list[str]:
    """Lines with columns as wide as what is in them, up to WIDEST."""
    cells = [[name.upper() for name in names], *([_cut(shown(value)) for value in row] for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(names))]
    return [
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    ]


def _cut(text: str) -> str:
    return text if len(text) <= WIDEST else text[: WIDEST - 1] + "…"


def facts(told: dict[str, Any]) -> list[str]:
    """A line for each fact."""
    width = max((len(name) for name in told), default=0)
    return [f"{name.ljust(width)}  {shown(value)}" for name, value in told.items()]
