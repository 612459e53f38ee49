"""The locks: complete, with hashes, and nothing in them that the .in files don't ask for."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
LOCKS = ["requirements", "requirements-redis", "requirements-dev", "requirements-bench"]


def locked(name: str) -> dict[str, Requirement]:
    """The pinned requirements of a lock, by name."""
    text = (ROOT / f"{name}.txt").read_text()
    pins = [Requirement(line.partition("\\")[0]) for line in text.splitlines() if re.match(r"[a-z0-9]", line)]
    return {pin.name: pin for pin in pins}


def asked(name: str) -> list[Requirement]:
    lines = (ROOT / f"{name}.in").read_text().splitlines()
    return [Requirement(line) for line in lines if line and line[0] not in "#-"]


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.mark.parametrize("name", LOCKS)
def test_every_pin_is_exact_and_has_hashes(name: str) -> None:
    text = (ROOT / f"{name}.txt").read_text()
    assert locked(name)
    for pin in locked(name).values():
        assert [one.operator for one in pin.specifier] == ["=="], str(pin)
        following = text.split(f"\n{pin.name}==")[1]
        assert following.split("\n", 2)[1].strip().startswith("--hash=sha256:"), str(pin)


@pytest.mark.parametrize("name", LOCKS)
def test_the_lock_answers_what_is_asked(name: str) -> None:
    pins = {canonical(pin): locked(name)[pin] for pin in locked(name)}
    for wish in asked(name):
        pin = pins.get(canonical(wish.name))
        assert pin is not None, f"{wish} is not in {name}.txt: run `make lock`"
        version = str(pin.specifier).removeprefix("==")
        assert wish.specifier.contains(version), f"{wish} is locked as {version}: run `make lock`"


def test_the_incumbent_is_measured_on_our_celery_and_is_no_part_of_the_product() -> None:
    product, bench = locked("requirements"), locked("requirements-bench")
    for name in ("celery", "kombu", "redis"):
        assert str(bench[name].specifier) == str(product[name].specifier), name
    assert "flower" not in product.keys() | locked("requirements-dev").keys()


def test_tests_run_on_the_versions_of_the_product() -> None:
    product, development = locked("requirements"), locked("requirements-dev")
    assert {name: str(pin.specifier) for name, pin in product.items()} == {
        name: str(development[name].specifier) for name in product
    }
