"""`send_webhook`: tell a URL, signed, and never an address of our own network.

    Nightdesk-Signature: t=1767225600,v1=<hex of HMAC-SHA256(secret, "<t>.<delivery>.<body>")>
    Nightdesk-Delivery: <the job's id, the same in each attempt>

Whoever receives it compares the signature, drops what is older than some
minutes, and a delivery that it has had before.
"""

from __future__ import annotations

import hmac
import json
import ssl
import threading
import time
from dataclasses import dataclass
from hashlib import sha256
from http.client import HTTPConnection, HTTPException, HTTPResponse
from socket import SHUT_RDWR
from typing import Any

from django.conf import settings
from django.core.serializers.json import DjangoJSONEncoder

from workers.app import app
from workers.ready.addresses import Address, Place, Refused, addresses_of, connected, place_of
from workers.retries import Permanent, Transient

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


@app.task(bind=True, backoff=2.0, backoff_cap=3_600.0, max_retries=10)
def send_webhook(self: Any, url: str, payload: Any, signed_with: str = "default") -> dict[str, int]:
    """POST `payload` as JSON to `url`, signed with the secret of this name in WEBHOOK_SECRETS.

    Tried again when the receiver is away, slow, busy or at fault (5xx); any
    other refusal is final. Redirects are not followed.
    """
    body = json.dumps(payload, cls=DjangoJSONEncoder, separators=(",", ":")).encode()
    headers = signed(body, self.request.id, int(time.time()), secret_named(signed_with))
    try:
        place = place_of(url, ["https", "http"] if "http" in settings.WEBHOOK_ALLOW else ["https"])
        addresses = addresses_of(place, "private" in settings.WEBHOOK_ALLOW)
        answer = delivered(place, addresses, body, headers)
    except Refused as fault:
        raise Permanent(str(fault)) from None
    except OSError as fault:
        raise Transient(f"the receiver can't be reached: {type(fault).__name__}: {fault}") from fault
    return judged(answer)


def secret_named(name: str) -> bytes:
    """The secret of this name. Raises Permanent if there is none."""
    secret = settings.WEBHOOK_SECRETS.get(name)
    if secret is None:
        raise Permanent(f"there is no secret {name!r} in WEBHOOK_SECRETS")
    return str(secret).encode()


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


def delivered(place: Place, addresses: list[Address], body: bytes, headers: dict[str, str]) -> Answer:
    """POST it. Raises OSError for what may pass, Refused where the certificate is wrong."""
    connection = Connection(place, addresses)
    watch = threading.Timer(PATIENCE, connection.cut)
    watch.daemon = True
    watch.start()
    try:
        connection.request("POST", place.path, body, headers)
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


def judged(answer: Answer) -> dict[str, int]:
    """The result of a delivery that was taken. Raises Transient or Permanent for others."""
    if 200 <= answer.status < 300:
        return {"status": answer.status, "bytes": answer.length}
    if answer.status >= 500 or answer.status in ASK_AGAIN:
        raise Transient(f"the receiver says {answer.status}", after=answer.after)
    moved = ", and redirects are not followed" if 300 <= answer.status < 400 else ""
    raise Permanent(f"the receiver says {answer.status}{moved}")
