"""What a delivering process may do while code of others sends: reach public addresses, read its own code.

Python tells an audit hook of each connection with the address that it goes
to, after the name was looked up and for each redirect anew. So a name that
leads here, then there, and a receiver that redirects inside come to nothing.
A hook can't be taken off again.
"""

from __future__ import annotations

import os
import ssl
import sys
from typing import Any

from workers.ready.addresses import is_public

CONNECTING = {"socket.connect", "socket.sendto", "socket.sendmsg"}
# Reaching beyond this process in any other way.
FORBIDDEN = {
    "os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "os.system", "os.startfile",
    "pty.spawn", "subprocess.Popen", "syslog.openlog", "syslog.syslog",
    "ctypes.dlopen", "os.remove", "os.rename", "os.rmdir", "os.mkdir",
    "os.link", "os.symlink", "os.chmod", "os.chown", "os.truncate", "os.putenv", "os.unsetenv",
}  # fmt: skip
READ_BY_LIBRARIES = ("/usr/share", "/usr/lib/ssl", "/etc/ssl", "/etc/pki", "/etc/mime.types", "/dev/urandom")
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class Guard:
    """Keeps what comes after `arm` within these bounds; `refused` tells what was not let through."""

    def __init__(self, *, allow_private: bool) -> None:
        self.refused: list[str] = []
        self._allow_private = allow_private
        self._readable = _readable()

    def arm(self) -> None:
        """From now on, and for as long as this process lives."""
        sys.addaudithook(self._hear)

    def _hear(self, event: str, told: tuple[Any, ...]) -> None:
        if event in CONNECTING:
            self._judge(told[1])
        elif event == "open":
            self._look(told[0], told[1], told[2])
        elif event in FORBIDDEN:
            self._refuse(f"{event} is not done while sending")

    def _judge(self, address: Any) -> None:
        """`address` as a socket takes it; None where it is connected already."""
        if address is None:
            return
        if not isinstance(address, tuple):
            self._refuse("a local socket is no place to send to")
        elif not self._allow_private and not _is_public(str(address[0])):
            self._refuse(f"{str(address[0])[:100]} is not a public address")

    def _look(self, path: Any, mode: Any, flags: Any) -> None:
        if isinstance(path, int) or path is None:  # open already
            return
        if (isinstance(flags, int) and flags & WRITING) or set(str(mode or "r")) & set("wax+"):
            self._refuse("no file is written while sending")
        real = os.path.realpath(os.fsdecode(path))
        if not any(real == root or real.startswith(root + os.sep) for root in self._readable):
            self._refuse("this file is not read while sending")

    def _refuse(self, why: str) -> None:
        self.refused.append(why)
        raise PermissionError(why)


def _is_public(text: str) -> bool:
    """A name says nothing: only what it was looked up to counts."""
    try:
        return is_public(text)
    except ValueError:
        return False


def _readable() -> tuple[str, ...]:
    """Python's own files and its packages', and certificates."""
    known = ssl.get_default_verify_paths()
    certificates = [os.environ.get(name) for name in ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE")]
    named = [*sys.path, *READ_BY_LIBRARIES, known.cafile, known.capath, *certificates]
    return tuple({os.path.realpath(path) for path in named if path})
