"""What must be true before the processes start. Whatever is not, is one clear line."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import secrets
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.staticfiles import finders
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection

ADMIN = "admin"


def hold_folder(folder: Path, patience: float) -> int:
    """Take the data folder for this `up` alone; the descriptor holds it as long as it is open.

    After a SIGKILL the warden holds it until nothing is left: then wait, at most `patience` seconds.
    """
    descriptor = os.open(folder / "up.lock", os.O_RDWR | os.O_CREAT, 0o600)
    deadline = time.monotonic() + patience
    while not _locked(descriptor):
        holder = _holder(descriptor)
        if holder is None or _lives(holder) or time.monotonic() > deadline:
            raise CommandError(
                f"another `up` (pid {holder or '?'}) works on {folder}; stop it, or set DATA_DIR"
            )
        time.sleep(0.1)
    os.truncate(descriptor, 0)
    os.pwrite(descriptor, str(os.getpid()).encode(), 0)
    return descriptor


def check_port(host: str, port: int) -> None:
    """CommandError if nobody can listen there."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        reason = "it is taken" if error.errno == errno.EADDRINUSE else error.strerror
        raise CommandError(f"can't listen on {host}:{port}: {reason}; PORT and HOST choose another") from None


@contextmanager
def told_in_a_line() -> Iterator[None]:
    """What the database or the disk refuses becomes a CommandError."""
    try:
        yield
    except DatabaseError as error:
        name = connection.settings_dict["NAME"]
        fault = " ".join(str(error).split())
        raise CommandError(f"the database {name} can't be used: {fault}") from None
    except OSError as error:
        raise CommandError(f"{error.filename or settings.DATA_DIR} can't be used: {error.strerror}") from None


def migrate() -> None:
    """Bring the tables up to date."""
    call_command("migrate", interactive=False, verbosity=0)


def admin_password() -> str | None:
    """Make the first administrator, or give them the password in ADMIN_PASSWORD.

    Returns a password that was made up now and is to be shown once, else None.
    """
    wanted = os.environ.pop("ADMIN_PASSWORD", "")  # the processes have no use for it
    users = get_user_model()._default_manager
    present = users.filter(username=ADMIN).first()
    if present is None:
        made_up = "" if wanted else secrets.token_urlsafe(12)
        users.create_superuser(username=ADMIN, password=wanted or made_up)
        return made_up or None
    if wanted:
        _change_password(present, wanted)
    return None


def collect_static() -> None:
    """Copy, hash and compress the static files, if any has changed since the last time."""
    stamp = Path(settings.STATIC_ROOT) / ".stamp"
    fingerprint = _static_fingerprint()
    if stamp.exists() and stamp.read_text() == fingerprint:
        return
    call_command("collectstatic", interactive=False, clear=True, verbosity=0)
    stamp.write_text(fingerprint)


def _static_fingerprint() -> str:
    digest = hashlib.sha256(str(settings.STORAGES["staticfiles"]).encode())
    for finder in finders.get_finders():
        for name, storage in finder.list([]):
            found = os.stat(storage.path(name))
            digest.update(f"{name} {found.st_size} {found.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def _change_password(user: AbstractBaseUser, password: str) -> None:
    if not user.check_password(password):  # an unchanged one must not end everybody's session
        user.set_password(password)
        user.save(update_fields=["password"])


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _holder(descriptor: int) -> int | None:
    text = os.pread(descriptor, 20, 0)
    return int(text) if text.isdigit() else None


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
