"""Which known faults a release has."""

from __future__ import annotations

import re
from importlib.metadata import version

import pytest

from jobs.known_faults import FAULTS, known_faults, mended_in, parsed


def numbers(package: str, release: str) -> set[int]:
    return {fault.number for fault in known_faults(package, release) or ()}


@pytest.mark.parametrize(
    ("release", "having", "lacking"),
    [
        ("5.7.0", set(), {10226, 10218}),
        ("5.7.0rc1", {10226, 10369}, set()),
        ("5.6.3", {10226, 10218, 9869}, {10151, 9799}),
        ("5.6.2", {10226, 9869, 10151}, {10218, 9799}),
        ("5.6.1", {10226, 10151}, {9869, 10218}),
        ("5.5.3", {10095, 9799, 9678}, {9869}),
        ("5.4.0", {10151, 9799}, {10095, 9869}),
    ],
)
def test_a_release_of_celery_has_the_faults_of_its_range(
    release: str, having: set[int], lacking: set[int]
) -> None:
    found = numbers("celery", release)
    assert having <= found
    assert not lacking & found


@pytest.mark.parametrize(
    ("release", "expected"),
    [
        ("5.3.1", {2590, 2561, 2007, 1733}),
        ("5.3.7", {2590, 2561, 2007}),
        ("5.6.2", {2590, 2561}),
        ("5.7.0", set()),
    ],
)
def test_a_release_of_kombu_has_the_faults_of_its_range(release: str, expected: set[int]) -> None:
    assert numbers("kombu", release) == expected


def test_a_version_that_cannot_be_read_has_unknown_faults_not_none() -> None:
    assert known_faults("celery", "of tomorrow") is None
    assert known_faults("celery", "5.7.0") == ()
    assert FAULTS[0].applies_to("?") is None


def test_what_hides_events_comes_first() -> None:
    effects = [fault.effect for fault in known_faults("celery", "5.5.3") or ()]
    assert effects == sorted(effects, key=lambda effect: effect != "sight")
    assert set(effects) == {"sight", "jobs"}


def test_the_release_to_take_is_the_one_that_mends_all() -> None:
    assert mended_in(known_faults("celery", "5.5.3") or ()) == "5.7.0"
    assert mended_in(fault for fault in FAULTS if fault.number in (10151, 9799)) == "5.6.3"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("5.6.3", "5.7.0"),
        ("5.9.0", "5.10.0"),
        ("5.7.0rc1", "5.7.0"),
        ("5.7.0b2", "5.7.0rc1"),
        ("5.7.0.dev1", "5.7.0a1"),
        ("5.7", "5.7.1"),
    ],
)
def test_versions_are_compared_as_python_does(one: str, other: str) -> None:
    first, second = parsed(one), parsed(other)
    assert first is not None
    assert second is not None
    assert first < second


def test_each_fault_says_where_it_is_told() -> None:
    for fault in FAULTS:
        assert re.fullmatch(r"https://github\.com/celery/(celery|kombu)/pull/\d+", fault.source)
        assert fault.package in fault.source
        assert parsed(fault.mended)
        assert fault.what.endswith(".")
    assert len({(fault.package, fault.number) for fault in FAULTS}) == len(FAULTS)


def test_the_releases_that_this_project_runs_have_none() -> None:
    for package in ("celery", "kombu"):
        assert known_faults(package, version(package)) == ()
