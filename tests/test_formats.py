"""How numbers and times are written: one table of cases, for the pages and for the script."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from dashboard import charts, formats

# A form, a value and what is written; for ages and times also the moment that is now, and the zone.
CASES: list[list[Any]] = json.loads((Path(__file__).parent / "format_cases.json").read_text())


def written(form: str, value: Any, *rest: Any) -> str:
    if form == "address":
        return formats.address(rest[0], value)
    if form == "spark":
        return charts.spark(value, *rest)
    now = rest[0] if rest else 0.0
    zone = rest[1] if len(rest) > 1 else "UTC"
    with timezone.override(zone):
        return formats.written(value, form, now)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0]} {case[1]}"[:60])
def test_a_page_writes_a_value_so(case: list[Any]) -> None:
    form, value, expected, *rest = case
    assert written(form, value, *rest) == expected


def test_every_form_has_a_case() -> None:
    assert {case[0] for case in CASES} == {*formats.FORMATS, "address", "spark"}


def test_an_unknown_value_is_never_written_as_zero() -> None:
    of_nothing = {formats.written(None, form, 0.0) for form in formats.FORMATS}
    assert of_nothing == {formats.UNKNOWN, formats.NOT_APPLICABLE}
