"""Settings fail loudly, and their page is complete."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from dashboard import environment

ROOT = Path(__file__).resolve().parent.parent
READERS = {"bool", "str", "int", "float", "list"}
# Read by the command that needs it, not by the settings.
READ_ELSEWHERE = {"ADMIN_PASSWORD"}


def variables_read() -> set[str]:
    """Every name that dashboard/settings.py asks the environment for."""
    calls = [
        node for node in ast.walk(ast.parse((ROOT / "dashboard/settings.py").read_text())) if is_reader(node)
    ]
    return {call.args[0].value for call in calls}  # type: ignore[attr-defined]


def is_reader(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in READERS


def documented() -> set[str]:
    page = (ROOT / "docs/settings.md").read_text()
    return set(re.findall(r"^\| `([A-Z_]+)` \|", page, flags=re.MULTILINE))


def test_every_variable_has_a_row_in_the_page_and_every_row_a_variable() -> None:
    assert len(variables_read()) > 20
    assert documented() == variables_read() | READ_ELSEWHERE


@pytest.mark.parametrize(
    "address",
    [
        "redis://host",
        "redis://:pw@host:6380/3",
        "rediss://host:1/0",
        "unix:///run/redis.sock",
        "unix:///r.sock?db=2",
    ],
)
def test_a_redis_address_is_taken_as_it_is(address: str) -> None:
    assert environment.redis_address(address) == address


@pytest.mark.parametrize(
    "address",
    [
        "host:6379",
        "redis://",
        "redis://host/db",
        "redis://host:port/0",
        "unix://r.sock",
        "unix:///r.sock?db=x",
        "x",
    ],
)
def test_a_wrong_redis_address_is_refused(address: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="REDIS_URL"):
        environment.redis_address(address)


def test_a_refusal_never_tells_a_password() -> None:
    with pytest.raises(ImproperlyConfigured) as caught:
        environment.redis_address("amqp://user:hunter2@host/vhost")
    assert "hunter2" not in str(caught.value)


def test_celery_reads_the_same_redis_as_everybody() -> None:
    assert environment.broker_address("redis://host:6379/2") == "redis://host:6379/2"
    assert environment.broker_address("unix:///r.sock?db=2") == "redis+socket:///r.sock?virtual_host=2"


def test_a_long_folder_gets_a_short_socket(tmp_path: Path) -> None:
    deep = tmp_path / ("a" * 120)
    assert environment.embedded_socket(tmp_path) == tmp_path / "redis.sock"
    assert len(str(environment.embedded_socket(deep))) <= environment.LONGEST_SOCKET_PATH


@pytest.mark.parametrize("text", ["jobs.example.com", "https://jobs.example.com/path", "ftp://x"])
def test_a_wrong_origin_is_refused(text: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="TRUSTED_ORIGINS"):
        environment.origins(["https://a.example", text])


def test_a_secret_is_made_once_and_kept_from_others(tmp_path: Path) -> None:
    path = tmp_path / "secret-key"
    secret = environment.kept_secret(path)
    assert environment.kept_secret(path) == secret
    assert path.stat().st_mode & 0o077 == 0


def test_a_damaged_secret_is_refused(tmp_path: Path) -> None:
    (tmp_path / "secret-key").write_text("short")
    with pytest.raises(ImproperlyConfigured, match="damaged"):
        environment.kept_secret(tmp_path / "secret-key")


@pytest.mark.parametrize("prefix", ["nightdesk", "/a b", "/a/../b?"])
def test_a_wrong_prefix_is_refused(prefix: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="PATH_PREFIX"):
        environment.path_prefix(prefix)
