"""A stand-in for a bank, with test amounts: ….13 is unreachable at first, ….99 is declined."""

from __future__ import annotations

from decimal import Decimal

from tests.guide.shop.models import BankCall


class Declined(Exception):
    """The bank has said no, and will say so again."""


def charge(amount: Decimal, key: str) -> str:
    """The receipt. A key is charged once: asked again, the bank gives the same receipt."""
    earlier = BankCall.objects.filter(key=key)
    charged = earlier.exclude(receipt="").first()
    if charged is not None:
        return charged.receipt
    first = not earlier.exists()
    call = BankCall.objects.create(key=key)
    if str(amount).endswith(".99"):
        raise Declined("insufficient funds")
    if str(amount).endswith(".13") and first:
        raise ConnectionError("the bank can't be reached")
    BankCall.objects.filter(pk=call.pk).update(receipt=f"R{call.pk}")
    return f"R{call.pk}"
