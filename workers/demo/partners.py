"""How the shop's partners behave: the same number, the same whim.

About three jobs in a thousand fail for good, each for a reason that can be
found again by its arguments.
"""

from __future__ import annotations

from dataclasses import dataclass

PRODUCTS = 400
SUBSCRIBERS = 300
# The catalogue's odd ones, by product id within the seeded range.
WITHOUT_CURRENCY = 217
# Subscribers.
GONE = 113
NEVER_ANSWERS = 241
SLOW_AT_FIRST = frozenset({31, 77, 158, 202, 266})
# Suppliers' feeds.
FEED_SLOW_AT_FIRST = frozenset({12, 148, 305})

# How long a client waits, and how long somebody takes who is too slow for it; seconds.
PATIENCE = 1.0
TOO_LONG = 1.3


@dataclass(frozen=True)
class Answer:
    """An HTTP status, after `delay` seconds."""

    status: int
    delay: float


def subscriber_answer(subscriber: int, attempt: int) -> Answer:
    """What a subscriber's endpoint does with a webhook; `attempt` counts from 0."""
    if subscriber == GONE:
        return Answer(410, 0.02)
    if subscriber == NEVER_ANSWERS or (subscriber in SLOW_AT_FIRST and attempt == 0):
        return Answer(200, TOO_LONG)
    return Answer(200, _usual_delay(subscriber, 0.02, 0.12))


def supplier_answer(product: int, attempt: int) -> Answer:
    """What a supplier's feed does when asked for one product."""
    if product in FEED_SLOW_AT_FIRST and attempt == 0:
        return Answer(200, TOO_LONG)
    return Answer(200, _usual_delay(product, 0.05, 0.25))


def _usual_delay(number: int, shortest: float, longest: float) -> float:
    return shortest + (longest - shortest) * ((number * 37) % 100) / 100
