"""What the environment asks for, checked: each wrong value is one clear line."""

from __future__ import annotations

import hashlib
import os
import secrets
import stat
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured

# The kernel's sockaddr_un holds 108 bytes on Linux and 104 on macOS, the closing NUL included.
LONGEST_SOCKET_PATH = 100


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
    """Check a Redis address: redis://, rediss:// or unix:///path?db=n."""
    url = urlsplit(text)
    if url.scheme in ("redis", "rediss") and url.hostname:
        return text
    if url.scheme == "unix" and url.path.startswith("/"):
        return text
    raise ImproperlyConfigured(f"REDIS_URL is {_shown(text)}; it should be redis://host:6379/0 or unix:///path")


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
    """Django's settings for sqlite:///path (four slashes for an absolute path)."""
    url = urlsplit(text)
    if url.scheme in ("postgres", "postgresql"):
        raise ImproperlyConfigured("DATABASE_URL names PostgreSQL, which this version can't use yet; use sqlite:///path")
    if url.scheme != "sqlite" or len(url.path) < 2:
        raise ImproperlyConfigured(f"DATABASE_URL is {_shown(text)}; it should be sqlite:///path/to/file")
    return {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": unquote(url.path[1:]),
        "CONN_MAX_AGE": None,
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": {
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,
            "init_command": (
                "PRAGMA journal_mode=WAL;PRAGMA synchronous=NORMAL;PRAGMA temp_store=MEMORY;"
                "PRAGMA cache_size=-20000;PRAGMA mmap_size=134217728;PRAGMA journal_size_limit=67108864;"
                "PRAGMA wal_autocheckpoint=4000"
            ),
        },
    }


def _shown(text: str) -> str:
    """A value fit for an error message: never with a password in it."""
    url = urlsplit(text)
    return repr(text if url.password is None else text.replace(url.password, "***"))
