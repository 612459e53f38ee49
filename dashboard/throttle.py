"""How often somebody may try to sign in: counted in the database, so by all web processes together.

A try counts before the password is looked at, so that many at once are not
more. Who signs in is forgiven. An account can't be locked from elsewhere: its
tries count for each address apart.
"""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from ipaddress import ip_network

from django.db import transaction
from django.db.models import F

from dashboard.models import SignInTries

WINDOW = timedelta(minutes=15)
TRIES_OF_ACCOUNT, TRIES_OF_ADDRESS = 5, 30


def count_try(account: str, address: str | None, now: datetime) -> tuple[int, float] | None:
    """Count a try; None if it may go on, else how many there were above the limit, and seconds to wait."""
    with transaction.atomic():
        SignInTries.objects.filter(until__lte=now).delete()
        of_address = _counted(_of_address(address), now)
        of_account = _counted(_of_account(account, address), now)
    above = [
        (tries.count - most, (tries.until - now).total_seconds())
        for tries, most in ((of_address, TRIES_OF_ADDRESS), (of_account, TRIES_OF_ACCOUNT))
        if tries.count > most
    ]
    return max(above, default=None)


def forgive(account: str, address: str | None) -> None:
    """The last try was good: what came before it counts no more."""
    SignInTries.objects.filter(key=_of_account(account, address)).delete()
    SignInTries.objects.filter(key=_of_address(address), count__gt=0).update(count=F("count") - 1)


def _counted(key: str, now: datetime) -> SignInTries:
    SignInTries.objects.get_or_create(key=key, defaults={"until": now + WINDOW})
    SignInTries.objects.filter(key=key).update(count=F("count") + 1)
    return SignInTries.objects.get(key=key)


def _of_address(address: str | None) -> str:
    return _hashed("address", _holding(address))


def _of_account(account: str, address: str | None) -> str:
    return _hashed("account", account.casefold(), _holding(address))


def _holding(address: str | None) -> str:
    """What one party is given: an address of IPv4, of IPv6 a network of 64 bits."""
    if address is None:
        return "?"
    return str(ip_network(f"{address}/64", strict=False)) if ":" in address else address


def _hashed(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode(errors="replace")).hexdigest()
