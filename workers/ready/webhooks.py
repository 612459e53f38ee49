"""`send_webhook`: tell a URL, signed, and never an address of our own network.

    Nightdesk-Signature: t=1767225600,v1=<hex of HMAC-SHA256(secret, "<t>.<delivery>.<body>")>
    Nightdesk-Delivery: <the job's id, the same in each attempt>

Whoever receives it compares the signature, drops what is older than some
minutes, and a delivery that it has had before.
"""

from __future__ import annotations

import json
import time
from typing import Any

from django.conf import settings
from django.core.serializers.json import DjangoJSONEncoder

from workers.app import app
from workers.ready.addresses import Refused, addresses_of, place_of
from workers.ready.posting import Answer, delivered, signed
from workers.retries import Permanent, Transient


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


def judged(answer: Answer) -> dict[str, int]:
    """The result of a delivery that was taken. Raises Transient or Permanent for others."""
    if answer.taken:
        return {"status": answer.status, "bytes": answer.length}
    if answer.may_pass:
        raise Transient(str(answer), after=answer.after)
    raise Permanent(str(answer))
