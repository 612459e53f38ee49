"""Settings fail loudly, and their page is complete."""

from __future__ import annotations

import ast
import re
from dataclasses import astuple
from datetime import timedelta
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


@pytest.mark.parametrize("address", ["", "amqp://u:p%40w@host:5672/vhost", "amqps://host//", "amqp://host"])
def test_an_address_of_rabbitmq_is_taken_as_it_is(address: str) -> None:
    assert environment.rabbitmq_address(address) == address


@pytest.mark.parametrize("address", ["redis://u:hunter2@host", "amqp://", "amqp://u:hunter2@host:x/", "host"])
def test_a_wrong_address_of_rabbitmq_is_refused_without_its_password(address: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="BROKER_URL") as caught:
        environment.rabbitmq_address(address)
    assert "hunter2" not in str(caught.value)


def test_a_refusal_never_tells_a_password() -> None:
    with pytest.raises(ImproperlyConfigured) as caught:
        environment.redis_address("amqp://user:hunter2@host/vhost")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("address", "parts"),
    [
        ("postgresql://u:pw@host:5433/name", ("u", "pw", "host", "5433", "name")),
        ("postgres://host/name", ("", "", "host", "", "name")),
        ("postgresql://u:p%40%2Fw@host/name", ("u", "p@/w", "host", "", "name")),
        ("postgresql://u@/name?host=/run/postgresql", ("u", "", "/run/postgresql", "", "name")),
        ("postgresql://u@%2Frun%2FPostgres/name", ("u", "", "/run/Postgres", "", "name")),
        ("postgresql://a:5432,b:5433/name", ("", "", "a,b", "5432,5433", "name")),
    ],
)
def test_an_address_of_postgresql_is_taken_apart(address: str, parts: tuple[str, ...]) -> None:
    database = environment.database_settings(address)
    assert tuple(database[name] for name in ("USER", "PASSWORD", "HOST", "PORT", "NAME")) == parts


def test_what_else_the_address_says_goes_to_the_driver() -> None:
    options = environment.database_settings("postgresql://h/n?sslmode=verify-full&connect_timeout=9")[
        "OPTIONS"
    ]
    assert (options["sslmode"], options["connect_timeout"]) == ("verify-full", "9")
    assert options["tcp_user_timeout"] == "20000"


@pytest.mark.parametrize(
    "address",
    [
        "mysql://u:hunter2@host/name",
        "sqlite://",
        "postgresql://u:hunter2@host/",
        "postgresql://u:hunter2@host",
        "postgresql://u:hunter2@host/name?sslmod=require",
        "postgresql://u:hunter2@host:5432:1/name",
        "postgresql://u:hunt/hunter2@host/name",
        "postgresql://host/name?password=hunter2&nosuch=1",
        "postgresql://u:%zzhunter2@host/name",
    ],
)
def test_a_wrong_database_address_is_refused_without_its_password(address: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="DATABASE_URL") as caught:
        environment.database_settings(address)
    assert "hunter2" not in str(caught.value)
    assert "\n" not in str(caught.value)


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


def test_days_to_keep_are_taken_as_they_are() -> None:
    kept = environment.retention(succeeded=0.5, minutes=3)
    assert (kept.succeeded, kept.minutes, kept.ended) == (
        timedelta(hours=12),
        timedelta(days=3),
        timedelta(days=30),
    )


@pytest.mark.parametrize(
    ("days", "words"),
    [
        ({"succeeded": 0.0}, "KEEP_SUCCEEDED is 0.0; it should be from 0.01"),
        ({"open": -1.0}, "KEEP_OPEN is -1.0"),
        ({"minutes": 1.0}, "KEEP_MINUTES is 1.0; it should be from 2"),
        ({"days": float("nan")}, "KEEP_DAYS is nan"),
        ({"ended": float("inf")}, "KEEP_ENDED is inf"),
    ],
)
def test_days_that_nobody_can_mean_are_refused(days: dict[str, float], words: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=re.escape(words)):
        environment.retention(**days)


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("smtp://localhost", ("localhost", 25, "", "", False, False)),
        ("smtp+tls://u%40x:p%3Aw@mail.example.com", ("mail.example.com", 587, "u@x", "p:w", True, False)),
        ("smtps://u:pw@mail:2465", ("mail", 2465, "u", "pw", False, True)),
    ],
)
def test_a_mail_server_is_taken_apart(url: str, parts: tuple[object, ...]) -> None:
    assert astuple(environment.mail_server(url)) == parts


@pytest.mark.parametrize(
    "url", ["mail", "http://u:hunter2@mail", "smtp://", "smtp://u:hunter2@mail:x", "smtp://m/p"]
)
def test_a_wrong_mail_server_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="EMAIL_URL") as caught:
        environment.mail_server(url)
    assert "hunter2" not in str(caught.value)


def test_secrets_of_webhooks_have_names() -> None:
    pairs = ["default:sixteen signs or more", "shop:with:colons:in:it:too"]
    assert environment.named_secrets(pairs) == {
        "default": "sixteen signs or more",
        "shop": "with:colons:in:it:too",
    }


@pytest.mark.parametrize("pair", ["hunter2hunter2hunter2", "default:hunter2", ":hunter2hunter2hunter2"])
def test_a_secret_without_name_or_length_is_refused_and_not_told(pair: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="WEBHOOK_SECRETS") as caught:
        environment.named_secrets([pair])
    assert "hunter2" not in str(caught.value)


def test_what_webhooks_may_do_is_one_of_what_is_known() -> None:
    assert environment.some_of("WEBHOOK_ALLOW", ["http", " private"], "http", "private") == {
        "http",
        "private",
    }
    with pytest.raises(ImproperlyConfigured, match="WEBHOOK_ALLOW"):
        environment.some_of("WEBHOOK_ALLOW", ["htp"], "http", "private")


@pytest.mark.parametrize(
    "url", ["", "https://jobs.example.com/desk", "http://[::1]:8000", "https://hc.example/a-token/"]
)
def test_an_address_for_others_is_taken_as_it_is(url: str) -> None:
    assert environment.public_address("DEADMAN_URL", url) == url


@pytest.mark.parametrize(
    "url",
    [
        "hc.example/hunter2",
        "ftp://hc.example/hunter2",
        "https://",
        "https://u:hunter2@hc.example",
        "https://h:hunter2",
    ],
)
def test_a_wrong_address_for_others_is_refused_and_not_told(url: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="DEADMAN_URL") as caught:
        environment.public_address("DEADMAN_URL", url)
    assert "hunter2" not in str(caught.value)
