"""What was taken from others stands as it was published, with its licence."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest

VENDOR = Path(__file__).parents[1] / "static" / "vendor"
PACKAGES: list[dict[str, Any]] = json.loads((VENDOR / "vendored.json").read_text())
FILES = {name: checksum for package in PACKAGES for name, checksum in package["files"].items()}
# Where a file says its own version.
OWN_VERSION = {
    "htmx/htmx.min.js": r'this\.version="([\d.]+)"',
    "uplot/uPlot.iife.min.js": r"\(v([\d.]+)\)",
}


@pytest.mark.parametrize("name", FILES)
def test_a_vendored_file_is_the_one_that_was_checked(name: str) -> None:
    assert hashlib.sha256((VENDOR / name).read_bytes()).hexdigest() == FILES[name]


def test_nothing_stands_in_the_folder_that_is_not_listed() -> None:
    present = {str(path.relative_to(VENDOR)) for path in VENDOR.rglob("*") if path.is_file()}
    assert present == {*FILES, "vendored.json"}


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package["name"])
def test_a_vendored_package_carries_its_licence(package: dict[str, Any]) -> None:
    assert package["licence_file"] in package["files"]
    words = {"0BSD": "Zero-Clause BSD", "MIT": "The MIT License"}[package["licence"]]
    assert words in (VENDOR / package["licence_file"]).read_text()


@pytest.mark.parametrize("name", OWN_VERSION)
def test_a_vendored_file_says_the_version_that_is_listed(name: str) -> None:
    listed = next(package["version"] for package in PACKAGES if name in package["files"])
    found = re.search(OWN_VERSION[name], (VENDOR / name).read_text())
    assert found is not None
    assert found[1] == listed
