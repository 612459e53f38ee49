"""What a delivering process does: send one letter, and say what came of it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from email.utils import parseaddr
from http.client import HTTPException
from smtplib import SMTPException, SMTPRecipientsRefused, SMTPResponseException, SMTPServerDisconnected
from typing import Any

from workers.notify.guard import Guard
from workers.notify.letter import Letter, Outcome
from workers.ready.addresses import Refused, addresses_of, place_of
from workers.ready.posting import Answer, delivered, signed

LONGEST_LINE = 300


def send(letter: Letter) -> Outcome:
    """Send it. Whatever goes wrong is an outcome; no text of it holds the address, if we can help it."""
    try:
        return SENDERS[letter.kind](letter)
    except Refused as fault:
        return Outcome("refused", str(fault))
    except OSError as fault:
        return Outcome("unknown" if _may_have_arrived(fault) else "failed", str(fault) or repr(fault))


def _may_have_arrived(fault: OSError) -> bool:
    """Whether the connection was lost after something was said."""
    cause = fault.__cause__ or fault
    return isinstance(cause, TimeoutError | ConnectionError | HTTPException) and not isinstance(
        cause, ConnectionRefusedError
    )


def _webhook(letter: Letter) -> Outcome:
    body = letter.body.encode()
    headers = signed(body, letter.delivery, int(time.time()), letter.secret.encode())
    headers["Nightdesk-Attempt"] = str(letter.attempt)
    headers["Nightdesk-Repeat"] = "maybe" if letter.unsure else "no"
    return _answered(_requested(letter, "POST", body, headers))


def _ping(letter: Letter) -> Outcome:
    return _answered(_requested(letter, "GET", None, {"User-Agent": "Nightdesk", "Connection": "close"}))


def _requested(letter: Letter, method: str, body: bytes | None, headers: dict[str, str]) -> Answer:
    place = place_of(letter.address, ["https", "http"] if letter.allow_http else ["https"])
    addresses = addresses_of(place, letter.allow_private)
    return delivered(place, addresses, body, headers, method)


def _answered(answer: Answer) -> Outcome:
    if answer.taken:
        return Outcome("delivered")
    return Outcome("failed" if answer.may_pass else "refused", str(answer))


def _email(letter: Letter) -> Outcome:
    from django.conf import settings

    settings.configure(**letter.mail, USE_I18N=False)
    from django.core.mail import EmailMessage

    people = [part.strip() for part in letter.address.split(",") if part.strip()]
    message = EmailMessage(letter.subject, letter.text, settings.DEFAULT_FROM_EMAIL, people)
    domain = parseaddr(message.from_email)[1].rpartition("@")[2] or "localhost"
    message.extra_headers |= {
        "Message-ID": f"<{letter.delivery}@{domain}>",
        "Auto-Submitted": "auto-generated",
    }
    try:
        message.send()
    except SMTPRecipientsRefused as fault:
        codes = sorted({code for code, _ in fault.recipients.values()})
        passes = any(400 <= code < 500 for code in codes)
        return Outcome("failed" if passes else "refused", f"the mail server refused the recipients: {codes}")
    except SMTPResponseException as fault:
        passes = 400 <= fault.smtp_code < 500
        return Outcome("failed" if passes else "refused", f"the mail server says {fault.smtp_code}")
    except SMTPServerDisconnected as fault:
        return Outcome("unknown", str(fault))
    except SMTPException as fault:
        return Outcome("refused", type(fault).__name__)
    return Outcome("delivered")


def _apprise(letter: Letter) -> Outcome:
    """Code of others, which builds its address itself: so it runs under guard."""
    import apprise

    # It loads its services when the first address is read.
    apprise.Apprise.instantiate("json://localhost")
    heard = _Heard()
    logging.getLogger("apprise").addHandler(heard)
    guard = Guard(allow_private=letter.allow_private)
    guard.arm()
    asset = apprise.AppriseAsset(
        app_id="Nightdesk",
        app_desc="Nightdesk",
        async_mode=False,
        secure_logging=True,
        storage_mode=apprise.PersistentStoreMode.MEMORY,
    )
    service = apprise.Apprise.instantiate(letter.address, asset=asset)
    if service is None:
        return Outcome("refused", "apprise can't read this address")
    sent = service.notify(
        body=letter.text, title=letter.subject, notify_type=apprise.NotifyType(letter.tone),
        body_format=apprise.NotifyFormat.TEXT,
    )  # fmt: skip
    if sent:
        return Outcome("delivered")
    if guard.refused:
        return Outcome("refused", guard.refused[0])
    return Outcome("failed" if "error=" in heard.last else "unknown", heard.last or "it was not taken")


class _Heard(logging.Handler):
    """What apprise says of a failure; it is nowhere else."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.last = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.last = record.getMessage()[:LONGEST_LINE]


SENDERS: Mapping[str, Callable[[Letter], Outcome]] = {
    "webhook": _webhook,
    "email": _email,
    "apprise": _apprise,
    "ping": _ping,
}


def mail_settings(settings: Any) -> dict[str, Any]:
    """Django's settings for mail, as a letter carries them."""
    names = (
        "EMAIL_BACKEND", "EMAIL_HOST", "EMAIL_PORT", "EMAIL_HOST_USER", "EMAIL_HOST_PASSWORD",
        "EMAIL_USE_TLS", "EMAIL_USE_SSL", "EMAIL_TIMEOUT", "DEFAULT_FROM_EMAIL",
    )  # fmt: skip
    return {name: getattr(settings, name) for name in names}
