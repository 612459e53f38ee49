"""How numbers and times are written, the same here and in static/nightdesk/format.js.

`tests/format_cases.json` holds the cases both must pass. Every function takes
what a frame holds (numbers, seconds since the epoch, None) and gives text in
which numbers and units alternate, parted by spaces: "3 min 12 s", "99.7 %".
Times are in the zone that is active: the visitor's while a page is made, else UTC.
"""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from dashboard import zones

UNKNOWN = "?"
NOT_APPLICABLE = "–"  # noqa: RUF001
MINUTE, HOUR, DAY = 60, 3600, 86400


def _rounded(value: float, digits: int = 0) -> float:
    """Half up, by the same arithmetic as in format.js (Python's round() is half even)."""
    power: int = 10**digits
    return math.floor(value * power + 0.5) / power


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def exact(value: Any) -> str:
    """A whole number in full: "919,118"."""
    return f"{int(_rounded(value)):,}" if _is_number(value) else UNKNOWN


def count(value: Any) -> str:
    """A whole number, three digits from ten thousand on: "9,999", "45.0K", "1.20M"."""
    if not _is_number(value):
        return UNKNOWN
    if _rounded(value) < 10_000:
        return exact(value)
    for size, letter in ((1e3, "K"), (1e6, "M"), (1e9, "G")):
        for digits, limit in ((2, 10), (1, 100), (0, 1000)):
            short = _rounded(value / size, digits)
            if short < limit:
                return f"{short:.{digits}f}{letter}"
    return f"{int(_rounded(value / 1e9)):,}G"


def rate(value: Any) -> str:
    """Something a second: "0.05", "4.5", "312"."""
    if not _is_number(value):
        return UNKNOWN
    if value == 0:
        return "0"
    if value < 0.005:
        return "<0.01"
    if _rounded(value, 2) < 0.1:
        return f"{_rounded(value, 2):.2f}"
    return f"{_rounded(value, 1):.1f}" if _rounded(value, 1) < 10 else count(value)


def percent(value: Any) -> str:
    """A share of 0 to 1: "99.7 %". All and none are said only when they are true."""
    if not _is_number(value):
        return UNKNOWN
    tenths = _rounded(value * 100, 1)
    if value in (0, 1):
        return f"{int(value) * 100} %"
    if tenths >= 100 and value < 1:
        return ">99.9 %"
    return "<0.1 %" if tenths <= 0 else f"{tenths:.1f} %"


def seconds(value: Any) -> str:
    """A duration: "4 ms", "0.4 s", "34 s", "3 min 12 s", "2 h 5 min", "3 d"."""
    if not _is_number(value):
        return UNKNOWN
    if value <= 0:
        return "0 s"
    if value < 0.0005:
        return "<1 ms"
    if _rounded(value, 3) < 0.1:
        return f"{int(_rounded(value * 1000))} ms"
    return f"{_rounded(value, 1):.1f} s" if _rounded(value, 1) < 10 else _long(int(_rounded(value)))


def _long(whole: int) -> str:
    """A duration of ten seconds and more, two units at most."""
    if whole < MINUTE:
        return f"{whole} s"
    if whole < HOUR:
        return _two(whole, MINUTE, "min", 1, "s", 10)
    return _two(whole, HOUR, "h", MINUTE, "min", 10) if whole < 2 * DAY else f"{whole // DAY} d"


def _two(whole: int, large: int, large_unit: str, small: int, small_unit: str, enough: int) -> str:
    """Two units; the smaller is left out where it is 0, or from `enough` of the larger on."""
    first, second = whole // large, whole % large // small
    return (
        f"{first} {large_unit}"
        if first >= enough or not second
        else f"{first} {large_unit} {second} {small_unit}"
    )


def ago(value: Any, now: float) -> str:
    """The distance of a time from `now`, to either side, in one unit: "2 s", "18 min"."""
    if not _is_number(value):
        return UNKNOWN
    whole = int(_rounded(abs(now - value)))
    for size, unit in ((DAY, "d"), (HOUR, "h"), (MINUTE, "min")):
        if whole >= size:
            return f"{whole // size} {unit}"
    return f"{whole} s"


def clock(value: Any) -> str:
    """A time of day: "02:57:02"."""
    return f"{zones.local(value):%H:%M:%S}" if _is_number(value) else UNKNOWN


def minute(value: Any) -> str:
    """A minute of the day: "02:57"."""
    return f"{zones.local(value):%H:%M}" if _is_number(value) else UNKNOWN


def moment(value: Any) -> str:
    """The whole time: "2026-11-21 02:57:02 UTC+1"."""
    if not _is_number(value):
        return UNKNOWN
    there = zones.local(value)
    return f"{there:%Y-%m-%d %H:%M:%S} {zones.label(there)}"


def stamp(value: Any, now: float) -> str:
    """A time of day, with its date where that is not the day of `now`."""
    if not _is_number(value):
        return UNKNOWN
    there = zones.local(value)
    return f"{there:%H:%M:%S}" if there.date() == zones.local(now).date() else f"{there:%Y-%m-%d %H:%M:%S}"


def time(value: Any) -> str:
    """A minute of the day, where it must say its zone: "02:57 UTC+1"."""
    return f"{minute(value)} {zones.label(zones.local(value))}" if _is_number(value) else UNKNOWN


def text(value: Any) -> str:
    """Anything, as it is; a list as its members, a dash where it has none."""
    if isinstance(value, list):
        value = ", ".join(map(str, value)) or NOT_APPLICABLE
    return UNKNOWN if value is None or value == "" else str(value)


def phase(value: Any) -> str:
    """What a job calls its progress; nothing where it says only that there is some."""
    return "" if value == "PROGRESS" else text(value)


def maybe(value: Any) -> str:
    """Something that need not be there, as it is."""
    return NOT_APPLICABLE if value is None or value == "" else str(value)


def name(value: Any) -> str:
    """The last part of a dotted task name."""
    return text(value if value is None else str(value).rpartition(".")[2] or value)


def address(pattern: str, row: dict[str, Any]) -> str:
    """`pattern` with each {name} replaced by the row's value; {job}, {queue}, {worker} by a page's place."""
    return re.sub(r"\{(\w+)\}", lambda found: _placed(found[1], row), pattern)


def _placed(name: str, row: dict[str, Any]) -> str:
    if name == "job":
        return job_place(row.get("task_id") or "", row.get("id") or 0)
    if name == "queue":
        return queue_place(row.get("name") or "")
    if name == "worker":
        return job_place(row.get("name") or "", row.get("id") or 0)
    value = row.get(name)
    return quote("" if value is None else str(value), safe="")


def job_place(task_id: str, job_id: int) -> str:
    """A task id that can stand in an address, else "~" and the number of the job."""
    fits = re.fullmatch(r"[A-Za-z0-9_.:@-]+", task_id) and task_id not in {".", ".."}
    return task_id if fits else f"~{job_id}"


def queue_place(name: str) -> str:
    """A queue's name that can stand in an address, else "~" and its base64."""
    if re.fullmatch(r"[A-Za-z0-9_.:@-]{1,255}", name) and name not in {".", ".."}:
        return name
    return "~" + base64.urlsafe_b64encode(name.encode("utf-8", "replace")).decode().rstrip("=")


FORMATS: dict[str, Callable[[Any, float], str]] = {
    "text": lambda value, _now: text(value),
    "phase": lambda value, _now: phase(value),
    "name": lambda value, _now: name(value),
    "maybe": lambda value, _now: maybe(value),
    "exact": lambda value, _now: exact(value),
    "count": lambda value, _now: count(value),
    "rate": lambda value, _now: rate(value),
    "percent": lambda value, _now: percent(value),
    "seconds": lambda value, _now: seconds(value),
    "clock": lambda value, _now: clock(value),
    "minute": lambda value, _now: minute(value),
    "moment": lambda value, _now: moment(value),
    "time": lambda value, _now: time(value),
    "ago": ago,
    "stamp": stamp,
}


def written(value: Any, form: str, now: float) -> str:
    """`value` in the form named, one of FORMATS."""
    return FORMATS[form](value, now)
