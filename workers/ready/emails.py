"""`send_email`: Django's mail, again after what passes."""

from __future__ import annotations

from collections.abc import Sequence
from email.utils import parseaddr
from smtplib import SMTPException, SMTPRecipientsRefused, SMTPResponseException, SMTPServerDisconnected
from typing import Any

from django.conf import settings
from django.core.mail import EmailMultiAlternatives

from workers.app import app
from workers.retries import Permanent, Transient


@app.task(bind=True, backoff=2.0, backoff_cap=3_600.0, max_retries=10)
def send_email(
    self: Any,
    to: str | Sequence[str],
    subject: str,
    text: str,
    html: str | None = None,
    sender: str | None = None,
) -> int:
    """Send a message; how many people it went to.

    Tried again while the server is away or says 4xx; any other refusal is
    final. Each attempt has the same Message-ID, by which a receiver knows a
    second copy. One job for each person: a server may refuse one of many.
    """
    people = [to] if isinstance(to, str) else list(to)
    message = EmailMultiAlternatives(subject, text, sender, people)
    message.extra_headers["Message-ID"] = f"<{self.request.id}@{domain_of(message.from_email)}>"
    if html is not None:
        message.attach_alternative(html, "text/html")
    try:
        message.message()  # faults of ours, before anybody is asked
        message.send()
    except ValueError as fault:  # a line break in a header, an address that is none
        raise Permanent(str(fault)) from fault
    except OSError as fault:  # SMTPException is one
        told = f"{type(fault).__name__}: {fault}"
        raise (Transient(told) if passes(fault) else Permanent(told)) from fault
    return len(people)


def domain_of(sender: str) -> str:
    """What comes after the @ of a sender."""
    address = parseaddr(sender or settings.DEFAULT_FROM_EMAIL)[1]
    return address.rpartition("@")[2] or "localhost"


def passes(fault: OSError) -> bool:
    """Whether the same message may be taken later."""
    if isinstance(fault, SMTPRecipientsRefused):
        return any(400 <= code < 500 for code, _ in fault.recipients.values())
    if isinstance(fault, SMTPResponseException):
        return 400 <= fault.smtp_code < 500
    return isinstance(fault, SMTPServerDisconnected) or not isinstance(fault, SMTPException)
