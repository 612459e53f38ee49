"""A request to an address that was judged before, within a time that holds for all of it.

It knows nothing of the product: a process that delivers notices uses it, too.
"""

from __future__ import annotations

import hmac
import ssl
import threading
import time
from dataclasses import dataclass
from hashlib import sha256
from http.client import HTTPConnection, HTTPException, HTTPResponse
from socket import SHUT_RDWR

from workers.ready.addresses import Address, Place, Refused, connected

# For the whole of it, from the connection to the last byte of the answer, in seconds.
PATIENCE = 5.0
# So much of an answer is read, in bytes.
MOST_READ = 65_536
ASK_AGAIN = {408, 425, 429}
LONGEST_WAIT = 3_600.0


@dataclass(frozen=True)
class Answer:
    """What came back; `after` are the seconds that the receiver asks us to wait."""

    status: int
    length: int
    after: float | None

    @property
    def taken(self) -> bool:
        """Whether the receiver has it."""
        return 200 <= self.status < 300

    @property
    def may_pass(self) -> bool:
        """Whether the same request may be taken later."""
        return self.status >= 500 or self.status in ASK_AGAIN

    def __str__(self) -> str:
        moved = ", and redirects are not followed" if 300 <= self.status < 400 else ""
        return f"the receiver says {self.status}{moved}"


class Connection(HTTPConnection):
    """A connection to addresses that were judged before; the name is not looked up again."""

    def __init__(self, place: Place, addresses: list[Address]) -> None:
        super().__init__(place.host, place.port)
        self.was_cut = False
        self._place = place
        self._addresses = addresses
        self._until = time.monotonic() + PATIENCE

    def connect(self) -> None:
        """Connect; with https, to who can show a certificate of that name."""
        self.sock = connected(self._addresses, self._until)
        if self._place.scheme == "https":
            context = ssl.create_default_context()
            # First kept, then greeted, so that `cut` reaches it.
            self.sock = context.wrap_socket(
                self.sock, server_hostname=self._place.host, do_handshake_on_connect=False
            )
            self.sock.do_handshake()

    def cut(self) -> None:
        """End it from another thread: a receiver that sends a byte a second is in time for ever."""
        self.was_cut = True
        if self.sock is not None:
            try:
                self.sock.shutdown(SHUT_RDWR)
            except OSError:  # it has just ended by itself
                return


def signed(body: bytes, delivery: str, at: int, secret: bytes) -> dict[str, str]:
    """The headers of a delivery at this second since the epoch."""
    signature = hmac.new(secret, f"{at}.{delivery}.".encode() + body, sha256).hexdigest()
    return {
        "Content-Type": "application/json",
        "User-Agent": "Nightdesk",
        "Nightdesk-Delivery": delivery,
        "Nightdesk-Signature": f"t={at},v1={signature}",
        "Connection": "close",
    }


def delivered(
    place: Place, addresses: list[Address], body: bytes | None, headers: dict[str, str], method: str = "POST"
) -> Answer:
    """Send it. Raises OSError for what may pass, Refused where the certificate is wrong."""
    connection = Connection(place, addresses)
    watch = threading.Timer(PATIENCE, connection.cut)
    watch.daemon = True
    watch.start()
    try:
        connection.request(method, place.path, body, headers)
        response = connection.getresponse()
        if connection.was_cut:  # then these headers may be half of them
            raise TimeoutError
        after = response.getheader("Retry-After", "")
        return Answer(response.status, length_of(response), waited(after))
    except ssl.SSLCertVerificationError as fault:
        raise Refused(f"the certificate of {place.host} is not valid: {fault.verify_message}") from fault
    except (OSError, HTTPException) as fault:
        told = f"no answer within {PATIENCE:g} seconds" if connection.was_cut else repr(fault)
        raise ConnectionError(told) from fault
    finally:
        watch.cancel()
        connection.close()


def length_of(response: HTTPResponse) -> int:
    """How much of an answer there was, as far as we read; what it says is known by its status."""
    try:
        return len(response.read(MOST_READ))
    except (OSError, HTTPException):
        return 0


def waited(text: str) -> float | None:
    """The seconds of a Retry-After; None for a date, or nothing."""
    return min(float(text), LONGEST_WAIT) if text.isdecimal() else None
