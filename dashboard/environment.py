"""What the environment asks for, checked: each wrong value is one clear line."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import stat
import tempfile
from dataclasses import dataclass, field
from datetime import timedelta
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured

from jobs.queues import QueuePolicy, parse_queues
from jobs.retention import Retention

# The kernel's sockaddr_un holds 108 bytes on Linux and 104 on macOS, the closing NUL included.
LONGEST_SOCKET_PATH = 100
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")

# Workers, Beat and the monitor keep their connections; dashboard.asgi has another rule.
KEPT_CONNECTIONS = {"CONN_MAX_AGE": None, "CONN_HEALTH_CHECKS": True}
# libpq's parameters: 5 s for a connection, 20 s until a server that says nothing is given up.
NOTICE_DEAD_SERVERS = {
    "application_name": "nightdesk",
    "connect_timeout": "5",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "2",
    "tcp_user_timeout": "20000",
}

# In days. The overview reads the minutes of an hour and what lay before the last 24, and the hours of those.
FEWEST_DAYS = {"minutes": 2, "hours": 2, "samples": 0.1}
MAIL_PORTS = {"smtp": 25, "smtp+tls": 587, "smtps": 465}
SHORTEST_SECRET = 16
SHORTEST_DAYS, LONGEST_DAYS = 0.01, 36_500

Number = TypeVar("Number", int, float)
Network = IPv4Network | IPv6Network


def one_line(fault: Exception) -> str:
    """What environs says of a value, as one sentence."""
    return " ".join(str(fault).split()).replace("Environment variable ", "", 1)


def between(name: str, value: Number, least: float, most: float) -> Number:
    """`value`, if it is at least `least` and at most `most`."""
    if not least <= value <= most:
        raise ImproperlyConfigured(f"{name} is {value}; it should be from {least} to {most}")
    return value


def one_of(name: str, value: str, *known: str) -> str:
    """`value`, if it is one of those known."""
    if value not in known:
        raise ImproperlyConfigured(f"{name} is {value!r}; it should be one of {', '.join(known)}")
    return value


def some_of(name: str, values: list[str], *known: str) -> frozenset[str]:
    """`values`, if each is one of those known."""
    return frozenset(one_of(name, value.strip(), *known) for value in values)


def named_secrets(pairs: list[str]) -> dict[str, str]:
    """What signs webhooks: name:secret, by commas. A fault never tells a secret."""
    told = [pair.strip().partition(":") for pair in pairs]
    if not all(name and len(secret) >= SHORTEST_SECRET for name, _, secret in told):
        raise ImproperlyConfigured(
            f"WEBHOOK_SECRETS should be name:secret with commas between them, {SHORTEST_SECRET} long or more"
        )
    return {name: secret for name, _, secret in told}


@dataclass(frozen=True)
class MailServer:
    """Where mail goes to; `tls` from the first byte, or `starttls`."""

    host: str
    port: int
    user: str
    password: str = field(repr=False)
    starttls: bool
    tls: bool


def mail_server(url: str) -> MailServer:
    """smtp://, smtp+tls:// (STARTTLS) or smtps://, with user:password@ if the server asks for them."""
    try:
        parts = urlsplit(url)
        port = parts.port or MAIL_PORTS[parts.scheme]
    except (ValueError, KeyError):
        parts, port = SplitResult("", "", "", "", ""), 0
    if not parts.hostname or parts.path.strip("/") or parts.query:
        known = ", ".join(f"{scheme}://" for scheme in MAIL_PORTS)
        raise ImproperlyConfigured(f"EMAIL_URL should be {known} with user:password@host:port")
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    starttls, tls = parts.scheme == "smtp+tls", parts.scheme == "smtps"
    return MailServer(parts.hostname, port, user, password, starttls, tls)


def log_level(text: str) -> str:
    """The name of a log level, in capitals."""
    if text.upper() not in LOG_LEVELS:
        raise ImproperlyConfigured(f"LOG_LEVEL is {text!r}; it should be one of {', '.join(LOG_LEVELS)}")
    return text.upper()


def origins(texts: list[str]) -> list[str]:
    """Origins as browsers send them: scheme, host and perhaps a port."""
    for text in texts:
        url = _parsed("TRUSTED_ORIGINS", text)
        if url.scheme not in ("http", "https") or not url.netloc or url.path:
            raise ImproperlyConfigured(f"TRUSTED_ORIGINS holds {text!r}; it should be like https://host")
    return texts


def networks(name: str, texts: list[str]) -> tuple[Network, ...]:
    """Addresses and networks, such as 10.0.0.7 or fd00::/8."""
    try:
        return tuple(ip_network(text.strip()) for text in texts)
    except ValueError as fault:
        raise ImproperlyConfigured(f"{name} holds what is no address or network: {fault}") from None


def path_prefix(text: str) -> str:
    """The path under which a proxy serves the site: "" or "/something", without a closing slash."""
    prefix = text.rstrip("/")
    if prefix and not re.fullmatch(r"(/[\w.~-]+)+", prefix):
        raise ImproperlyConfigured(f"PATH_PREFIX is {text!r}; it should be like /nightdesk")
    return prefix


def public_address(name: str, text: str) -> str:
    """An http or https address, or "". A fault doesn't tell it, as it may hold a secret."""
    if not text:
        return ""
    try:
        url = urlsplit(text)
        whole = url.scheme in ("http", "https") and bool(url.hostname) and url.port != 0 and not url.username
    except ValueError:
        whole = False
    if not whole or not text.isprintable() or " " in text:
        raise ImproperlyConfigured(f"{name} should be an address, like https://jobs.example.com")
    return text


def queue_policies(text: str) -> dict[str, QueuePolicy]:
    """The queues by name, from `high:10:4,default:60:4`."""
    try:
        return parse_queues(text)
    except ValueError as fault:
        raise ImproperlyConfigured(f"QUEUES {fault}") from None


def data_folder(path: Path) -> Path:
    """Make the folder that holds all state, readable by its owner alone."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ImproperlyConfigured(f"DATA_DIR {path} can't be made: {error.strerror}") from None
    if not os.access(path, os.W_OK | os.X_OK):
        raise ImproperlyConfigured(f"DATA_DIR {path} is not writable")
    return path


def kept_secret(path: Path) -> str:
    """Read the secret kept in `path`; the first call makes it."""
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    except FileExistsError:
        return _secret_once_written(path)
    with os.fdopen(descriptor, "w") as file:
        secret = secrets.token_urlsafe(48)
        file.write(secret)
    return secret


def _secret_once_written(path: Path) -> str:
    secret = path.read_text()
    if len(secret) < 32:
        raise ImproperlyConfigured(f"{path} is damaged; remove it and start again")
    return secret


def embedded_socket(data: Path) -> Path:
    """Where the embedded Redis listens: in the data folder if the path is short enough."""
    near = data / "redis.sock"
    if len(os.fsencode(near)) <= LONGEST_SOCKET_PATH:
        return near
    digest = hashlib.sha256(os.fsencode(data)).hexdigest()[:16]
    return _private_folder(Path(tempfile.gettempdir()) / f"nightdesk-{os.getuid()}-{digest}") / "redis.sock"


def _private_folder(path: Path) -> Path:
    path.mkdir(mode=0o700, exist_ok=True)
    owner = path.stat(follow_symlinks=False)
    if owner.st_uid != os.getuid() or stat.S_IMODE(owner.st_mode) != 0o700 or path.is_symlink():
        raise ImproperlyConfigured(f"{path} belongs to somebody else; set DATA_DIR to a shorter path")
    return path


def redis_address(text: str) -> str:
    """Check a Redis address: redis://host:port/db, rediss://… or unix:///path?db=n."""
    url = _parsed("REDIS_URL", text)
    on_network = url.scheme in ("redis", "rediss") and url.hostname and re.fullmatch(r"/?\d*", url.path)
    on_socket = url.scheme == "unix" and not url.netloc and len(url.path) > 1
    database = parse_qs(url.query).get("db", ["0"])[0]
    if not (on_network or on_socket) or not database.isdecimal():
        raise ImproperlyConfigured(
            f"REDIS_URL is {_shown(text)}; it should be redis://host:6379/0 or unix:///path?db=0"
        )
    return text


def rabbitmq_address(text: str) -> str:
    """Check a RabbitMQ address: amqp://user:password@host:port/vhost or amqps://…; "" for none."""
    if not text:
        return ""
    url = _parsed("BROKER_URL", text)
    if url.scheme not in ("amqp", "amqps") or not url.hostname or url.query:
        raise ImproperlyConfigured(
            f"BROKER_URL is {_shown(text)}; it should be amqp://user:password@host:5672/vhost,"
            " or not set, and REDIS_URL is the broker"
        )
    return text


def broker_address(redis_url: str) -> str:
    """The same Redis as Celery's transport names it.

    kombu ignores `?db=` on a socket and reads `virtual_host` instead.
    """
    url = urlsplit(redis_url)
    if url.scheme != "unix":
        return redis_url
    database = parse_qs(url.query).get("db", ["0"])[0]
    return f"redis+socket://{url.path}?virtual_host={database}"


def database_settings(text: str) -> dict[str, Any]:
    """Django's settings for sqlite:///path (four slashes for an absolute path) or postgresql://…/name."""
    if re.match("sqlite:///.", text):
        return _sqlite_settings(unquote(urlsplit(text).path[1:]))
    parameters = _libpq_parameters(text) if re.match("postgres(ql)?://", text) else {}
    if not parameters.get("dbname") or not re.fullmatch(r"[\d,]*", parameters.get("port", "")):
        raise ImproperlyConfigured(
            f"DATABASE_URL is {_shown(text)}; it should be sqlite:///path/to/file or"
            " postgresql://user:password@host:5432/name, with libpq's parameters after a ?"
        )
    return _postgresql_settings(parameters)


def _sqlite_settings(path: str) -> dict[str, Any]:
    return {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": path,
        **KEPT_CONNECTIONS,
        "OPTIONS": {
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,
            "init_command": (
                "PRAGMA journal_mode=WAL;PRAGMA synchronous=NORMAL;PRAGMA temp_store=MEMORY;"
                "PRAGMA cache_size=-4000;PRAGMA mmap_size=134217728;PRAGMA journal_size_limit=134217728;"
                "PRAGMA wal_autocheckpoint=4000"
            ),
        },
    }


def _postgresql_settings(parameters: dict[str, Any]) -> dict[str, Any]:
    names = {"NAME": "dbname", "USER": "user", "PASSWORD": "password", "HOST": "host", "PORT": "port"}
    return {
        "ENGINE": "django.db.backends.postgresql",
        **{ours: parameters.pop(name, "") for ours, name in names.items()},
        **KEPT_CONNECTIONS,
        "OPTIONS": {**NOTICE_DEAD_SERVERS, **parameters},
    }


def _libpq_parameters(text: str) -> dict[str, Any]:
    """What the address names, as libpq reads it; nothing where it can't be read."""
    from psycopg import ProgrammingError  # 50 ms that an installation on SQLite need not spend
    from psycopg.conninfo import conninfo_to_dict

    try:
        return conninfo_to_dict(text)
    except (ProgrammingError, UnicodeError):  # its message may hold the password
        return {}


def _parsed(name: str, text: str) -> SplitResult:
    """`text` as an address whose port is a number."""
    try:
        url = urlsplit(text)
        _ = url.port
    except ValueError:  # its message may hold a part of the password
        raise ImproperlyConfigured(f"{name} is {_shown(text)}, which is not an address") from None
    return url


def _shown(text: str) -> str:
    """A value fit for an error message: never with a password in it."""
    return repr(re.sub(r"(password=)[^&]*", r"\1***", re.sub(r"//.*@", "//***@", text)))


def retention(**days: float) -> Retention:
    """How long what is kept, from numbers of days under the names of Retention."""
    kept = {name: timedelta(days=_days(name, value)) for name, value in days.items()}
    return Retention(**kept)


def _days(name: str, value: float) -> float:
    least = FEWEST_DAYS.get(name, SHORTEST_DAYS)
    return between(f"KEEP_{name.upper()}", value, least, LONGEST_DAYS)
