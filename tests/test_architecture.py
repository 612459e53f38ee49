"""The shape of the house: who may import whom, and how large a part may grow."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Iterator
from graphlib import TopologicalSorter
from itertools import accumulate
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
# Each package may import itself and those before it.
ORDER = ["nightdesk", "jobs", "workers", "dashboard"]
# What a browser touches is known to dashboard alone. (channels.layers carries frames, it knows no browser.)
WEB = (
    "django.http",
    "django.shortcuts",
    "django.template",
    "django.views",
    "channels.generic",
    "channels.routing",
)
# The recorder goes into other people's programs.
RECORDER_NEEDS = {"celery", "kombu", "redis", "nightdesk"}
LONGEST_FUNCTION = 60
LONGEST_FILE = 400


def sources(package: str) -> Iterator[Path]:
    return (path for path in sorted((ROOT / package).rglob("*.py")) if "migrations" not in path.parts)


def imports(path: Path) -> Iterator[str]:
    """The full names of the modules that a file imports, wherever in the file."""
    for node in ast.walk(ast.parse(path.read_text())):
        yield from imported_by(node, path)


def imports_at_once(body: Iterable[ast.stmt], path: Path) -> Iterator[str]:
    """Those that it imports while it is itself imported."""
    for node in body:
        yield from imported_by(node, path)
        if isinstance(node, ast.If) and ast.unparse(node.test) != "TYPE_CHECKING":
            yield from imports_at_once([*node.body, *node.orelse], path)


def imported_by(node: ast.AST, path: Path) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        assert node.level == 0, f"{path}: imports are absolute"
        yield from (f"{node.module}.{alias.name}" for alias in node.names)


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def is_within(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


@pytest.mark.parametrize("package", ORDER)
def test_imports_go_one_way(package: str) -> None:
    later = ORDER[ORDER.index(package) + 1 :]
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in sources(package)
        for name in imports(path)
        if any(is_within(name, other) for other in later)
    ]
    assert wrong == []


def test_no_module_needs_itself_to_be_imported() -> None:
    files = {module_name(path): path for package in ORDER for path in sources(package)}
    needs = {
        module: {
            each
            for name in imports_at_once(ast.parse(path.read_text()).body, path)
            for each in accumulate(name.split("."), "{}.{}".format)  # its packages are imported before it
            if each in files and not is_within(module, each)
        }
        for module, path in files.items()
    }
    TopologicalSorter(needs).prepare()  # raises CycleError, which names the modules


@pytest.mark.parametrize("package", ["nightdesk", "jobs", "workers"])
def test_only_the_dashboard_knows_browsers(package: str) -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in sources(package)
        for name in imports(path)
        if any(is_within(name, web) for web in WEB)
    ]
    assert wrong == []


def test_the_recorder_needs_celery_and_redis_alone() -> None:
    allowed = RECORDER_NEEDS | sys.stdlib_module_names
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in sources("nightdesk")
        for name in imports(path)
        if name.partition(".")[0] not in allowed
    ]
    assert wrong == []


def test_hand_written_sql_lives_in_the_store() -> None:
    wrong = [
        str(path.relative_to(ROOT))
        for package in ORDER
        for path in sources(package)
        if not is_within(".".join(path.relative_to(ROOT).parts), "jobs.store")
        and any(word in path.read_text() for word in ("cursor()", ".raw(", "RawSQL"))
    ]
    assert wrong == []


def test_functions_stay_short() -> None:
    long = [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name} has {length} lines"
        for package in [*ORDER, "tests"]
        for path in sources(package)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (length := (node.end_lineno or 0) - node.lineno + 1) > LONGEST_FUNCTION
    ]
    assert long == []


def test_files_stay_readable() -> None:
    long = [
        f"{path.relative_to(ROOT)} has {length} lines"
        for package in ORDER
        for path in sources(package)
        if (length := len(path.read_text().splitlines())) > LONGEST_FILE
    ]
    assert long == []


def test_no_file_is_a_drawer_for_everything() -> None:
    drawers = {"utils.py", "helpers.py", "misc.py", "common.py"}
    assert [str(path) for package in ORDER for path in sources(package) if path.name in drawers] == []


def test_jobs_are_looked_up_by_their_ids_within_a_cluster() -> None:
    """The index begins with the cluster: without it, each look walks through all jobs."""
    without = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for package in ORDER
        for path in sources(package)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and is_look_for_ids(node) and "cluster" not in asked_by(node)
    ]
    assert without == []


def is_look_for_ids(node: ast.Call) -> bool:
    """`Job.objects. … .filter(task_id…)`."""
    begun_with = ast.unparse(node.func).startswith("Job.objects.")
    return begun_with and ast.unparse(node.func).endswith((".filter", ".get")) and "task_id" in asked_by(node)


def asked_by(node: ast.expr) -> set[str]:
    """The fields that a chain of filters names, without their lookups."""
    if isinstance(node, ast.Attribute):
        return asked_by(node.value)
    if not isinstance(node, ast.Call):
        return set()
    return {(word.arg or "").partition("__")[0] for word in node.keywords} | asked_by(node.func)
