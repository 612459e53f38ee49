"""The address of a channel: checked before it is kept, sealed, and never shown whole again."""

from __future__ import annotations

import re
import warnings
from urllib.parse import urlsplit

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.utils.translation import gettext as _

from jobs.models import Channel, ChannelKind
from jobs.sealing import seal, unseal
from jobs.values import storable
from nightdesk.options import SENSITIVE_KEYS
from nightdesk.redaction import Redactor
from workers.ready.addresses import Refused, place_of

PURPOSE = "the address of a channel"
LONGEST_ADDRESS, LONGEST_ERROR = 2_000, 300
MOST_PEOPLE = 20
# These speak to the machine that they run on.
LOCAL = {"dbus", "qt", "kde", "glib", "gio", "gnome", "macosx", "windows", "syslog", "blink1"}
SHORTEST_SECRET = 4
HIDDEN = "…"
REDACTOR = Redactor(SENSITIVE_KEYS)


def check(kind: str, address: str, signed_with: str) -> None:
    """Raises ValidationError, which never tells the address, for one that nothing could be sent to."""
    if not address or len(address) > LONGEST_ADDRESS:
        raise ValidationError(_("An address is needed, of up to 2,000 signs."))
    if kind == ChannelKind.EMAIL:
        _check_people(address)
    elif kind == ChannelKind.WEBHOOK:
        _check_url(address, signed_with)
    else:
        _check_apprise(address)


def keep(channel: Channel, address: str) -> None:
    """Set the address of a channel, which is not saved here."""
    channel.sealed = seal(address, PURPOSE)
    channel.shown = shown(channel.kind, address)


def address_of(channel: Channel) -> str:
    """The address itself: for who sends. Raises Broken if SECRET_KEY is another one."""
    return unseal(channel.sealed, PURPOSE)


def shown(kind: str, address: str) -> str:
    """As much of an address as may be seen: of people the domain, of a URL its scheme and host."""
    if kind == ChannelKind.EMAIL:
        people = ((person[:1], person.rpartition("@")[2]) for person in _people(address))
        return ", ".join(f"{first}{HIDDEN}@{domain}" for first, domain in people)[:200]
    parts = urlsplit(address)
    # What stands in the place of a host may be a token of the service.
    host = (parts.hostname or "") + "/" if kind == ChannelKind.WEBHOOK else ""
    return f"{parts.scheme}://{host}{HIDDEN}"[:200]


def without_address(text: str, address: str) -> str:
    """`text`, in which nothing of an address stands that could be a secret; short, on one line."""
    parts = [part for part in re.split(r"[/:@?&=#,\s]+", address) if len(part) >= SHORTEST_SECRET]
    for part in sorted({address, *parts}, key=len, reverse=True):
        text = text.replace(part, HIDDEN)
    return on_one_line(str(REDACTOR.clean(text, LONGEST_ERROR * 4).value))


def on_one_line(text: str) -> str:
    """`text`, short and fit for the record: receivers, and code of others, have written it."""
    return " ".join(storable(text).split())[:LONGEST_ERROR]


def _people(address: str) -> list[str]:
    return [part.strip() for part in address.split(",") if part.strip()]


def _check_people(address: str) -> None:
    people = _people(address)
    if not 0 < len(people) <= MOST_PEOPLE:
        raise ValidationError(_("E-mail goes to one address or more, up to 20, by comma."))
    for person in people:
        try:
            validate_email(person)
        except ValidationError:
            raise ValidationError(_("This is not an e-mail address, or several by comma.")) from None


def _check_url(address: str, signed_with: str) -> None:
    schemes = ["https", "http"] if "http" in settings.WEBHOOK_ALLOW else ["https"]
    try:
        place_of(address, schemes)
    except Refused as fault:
        raise ValidationError(str(fault)) from None
    if signed_with not in settings.WEBHOOK_SECRETS:
        raise ValidationError(_("WEBHOOK_SECRETS has no secret of this name to sign with."))


def _check_apprise(address: str) -> None:
    if _scheme_of(address) in LOCAL:
        raise ValidationError(_("This would speak to the machine itself, not to people."))
    with warnings.catch_warnings():  # of modules that Python is about to drop
        warnings.simplefilter("ignore")
        import apprise  # takes a third of a second, which only who edits a channel need spend

        apprise.Apprise.instantiate("json://localhost")  # its services are loaded by the first use
    if apprise.Apprise.instantiate(address) is None:
        raise _unreadable()


def _scheme_of(address: str) -> str:
    try:
        return urlsplit(address).scheme.lower()
    except ValueError:  # a bracket that nothing closes
        raise _unreadable() from None


def _unreadable() -> ValidationError:
    return ValidationError(_("apprise can't read this address: see its list of services."))
